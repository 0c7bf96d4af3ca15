package audit

import "github.com/penstock-go/penstock/ship"

// signature judges who wrote a manifest, if there are keys to judge by. fits: it names the hash of the manifest before, and
// so vouches for that one, and for all that one vouches for, if it is signed itself. So signing can begin, and keys can
// change, in the middle of a chain; what counts is that its end is signed.
func (w *walk) signature(m *ship.Manifest, l *link, fits bool) {
	keys := w.a.o.Keys
	if len(keys) == 0 {
		return
	}
	if !fits {
		w.unsignedEnd()
	}
	forged, err := m.CheckSignature(keys...)
	switch {
	case err == nil:
		w.unsigned, l.vouched = nil, true
	case forged:
		w.unsignedEnd()
		w.unsigned = &stretch{from: l, to: l, first: m.Header.PrevLast + 1, why: err}
		w.unsignedEnd() // whatever follows it
	case w.unsigned == nil:
		w.unsigned = &stretch{from: l, to: l, first: m.Header.PrevLast + 1, why: err}
	default:
		w.unsigned.to = l
	}
}

// stretch is a row of manifests.
type stretch struct {
	from, to *link
	first    uint64 // sequence number
	why      error
}

// unsignedEnd reports the manifests that no signed one follows.
func (w *walk) unsignedEnd() {
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
	w.find(SignatureWrong, u.from.epoch, first, last, w.manifestKey(u.from), "", "%s: %v", what, u.why)
}
