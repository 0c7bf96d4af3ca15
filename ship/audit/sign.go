package audit

import (
	"crypto/ed25519"
	"errors"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// checkSignature judges the signature of a manifest, if there are keys. fits: the manifest names the hash of the previous one.
// If it is signed, it then vouches for the previous one, and for everything that the previous one vouches for. So signing can
// begin, and keys can change, in the middle of a chain, as long as its end is signed.
func (w *walk) checkSignature(m *ship.Manifest, l *link, fits bool) {
	keys := w.a.o.Keys
	if len(keys) == 0 {
		w.newest = m
		return
	}
	if !fits {
		w.reportUnsigned()
	}
	forged := false
	err := w.p.kept.isSigned(m, func() (err error) {
		forged, err = m.CheckSignature(keys...)
		return err
	})
	switch {
	case err == nil:
		w.unsigned, l.vouched = nil, true
	case forged:
		w.reportUnsigned()
		w.unsigned = &stretch{from: l, to: l, first: m.Header.PrevLast + 1, why: err}
		w.reportUnsigned() // even if a signed manifest follows it
	case w.unsigned == nil:
		w.unsigned = &stretch{from: l, to: l, first: m.Header.PrevLast + 1, why: err}
	default:
		w.unsigned.to = l
	}
}

// stretch is a row of manifests without a valid signature.
type stretch struct {
	from, to *link
	first    uint64 // sequence number
	why      error
}

// reportUnsigned reports the manifests that no signed one follows.
func (w *walk) reportUnsigned() {
	u := w.unsigned
	if u == nil {
		return
	}
	w.unsigned = nil
	what := "none of the given keys vouches for it"
	if u.to != u.from {
		what = "none of the given keys vouches for it and for those up to " + w.manifestKey(u.to)
	}
	first, last := u.first, u.to.last
	if last < first {
		first, last = 0, 0 // it covers no records
	}
	w.report(SignatureWrong, u.from.epoch, first, last, w.manifestKey(u.from), "", "%s: %v", what, u.why)
}

// selfSigned judges a signature without a trusted key: it must at least be valid for the key that it names. If no other file
// names the document's hash, only this detects a damaged signature.
func selfSigned(s *ship.SignatureLine, check func(...ed25519.PublicKey) error) error {
	if s == nil {
		return nil
	}
	key, known, err := s.PublicKey()
	if known && err == nil {
		err = check(key)
	}
	return err
}

// checkNewestSignature judges the signature of the chain's last manifest if there are no keys. Those of the others are covered
// by the hash that the next manifest names.
func (w *walk) checkNewestSignature() {
	m := w.newest
	if w.newest = nil; m == nil {
		return
	}
	err := selfSigned(m.Signature, func(k ...ed25519.PublicKey) error {
		_, err := m.CheckSignature(k...)
		return err
	})
	if err == nil {
		return
	}
	code := SignatureWrong
	if errors.Is(err, ship.ErrVersion) {
		code = NotUnderstood
	}
	w.report(code, m.Header.Epoch, 0, 0, object.ManifestKey(w.id.Class, w.id.Spool, m.Header.Epoch, m.Header.Number), "", "%v", err)
}
