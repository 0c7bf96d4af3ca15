package audit_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/hex"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// forger may write everywhere, and knows the format. All it lacks is the key.
type forger struct {
	*rand.Rand
	t    *testing.T
	p    places
	mode int // what becomes of signatures: left out, kept, made with another key
	key  ed25519.PrivateKey
	gone *ship.SegmentLine // what dropTail has taken away
}

func newKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

// signed is a tree of which every manifest and head is signed: two spools, one of them over two epochs.
func signed(t *testing.T, key ed25519.PrivateKey) places {
	t.Helper()
	p := newPlaces()
	sign := func(o *ship.Options) { o.Signer = key }
	dir := filepath.Join(t.TempDir(), "a")
	for range 2 {
		x := send(t, dir, "vpn", "host-a", p.destinations(), sign)
		x.segments(5)
		x.finalize("idc", "s3")
		x.end()
	}
	x := send(t, filepath.Join(t.TempDir(), "b"), "web", "host-b", p.destinations(), sign)
	x.segments(5)
	x.finalize("idc", "s3")
	x.end()
	return p
}

// chain returns the keys of a spool's manifests at one place, in order.
func (f *forger) chain(at *shiptest.MemoryDestination, spool string) (keys []string) {
	for _, k := range at.Keys() {
		if isManifest.MatchString(k) && strings.Contains(k, spool) {
			keys = append(keys, k)
		}
	}
	return keys
}

func (f *forger) read(at *shiptest.MemoryDestination, key string) *ship.Manifest {
	m, err := ship.DecodeManifest(bytes.NewReader(at.Bytes(key)))
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// forge alters the same statement about one spool at every place, and makes everything after it fit again. It returns the first manifest
// that it has written, by place.
func (f *forger) forge() map[string]string {
	var spools []string
	for _, k := range f.p["s3"].Keys() {
		if s := strings.Split(k, "/"); isManifest.MatchString(k) && !slices.Contains(spools, s[2]) {
			spools = append(spools, s[2])
		}
	}
	spool := spools[f.IntN(len(spools))]
	change := f.alterLoss
	if f.IntN(3) == 0 {
		change = f.dropTail
	}
	kind := f.Uint64()
	first, hashes := map[string]string{}, map[string]*ship.Manifest{}
	for name, at := range f.p {
		keys := f.chain(at, spool)
		var before *ship.Manifest
		for i, k := range keys {
			m := f.read(at, k)
			old := hex.EncodeToString(m.Hash[:])
			changed := change(at, keys, i, m, kind)
			if first[name] == "" && !changed {
				before = m
				continue
			}
			if first[name] == "" {
				first[name] = k
			}
			if at.Bytes(k) == nil {
				continue // removed
			}
			if before != nil {
				m.Header.Prev = hex.EncodeToString(before.Hash[:])
			}
			f.write(at, k, m)
			hashes[old] = m
			before = m
		}
	}
	if len(first) == 0 {
		return f.forge() // no such loss in that spool
	}
	f.heads(spool, hashes)
	return first
}

func (f *forger) write(at *shiptest.MemoryDestination, key string, m *ship.Manifest) {
	switch f.mode {
	case 0:
		m.Signature = nil
	case 2:
		if err := m.Sign(f.key); err != nil {
			f.t.Fatal(err)
		}
	}
	b, err := m.Encode()
	if err != nil {
		f.t.Fatal(err)
	}
	at.Set(key, b)
}

// alterLoss changes what was lost with every second segment: the same at every place, whichever segments came to share a
// manifest there.
func (f *forger) alterLoss(_ *shiptest.MemoryDestination, _ []string, _ int, m *ship.Manifest, kind uint64) (changed bool) {
	for i := range m.Losses {
		if m.Losses[i].Segment%2 == kind%2 {
			m.Losses[i].Lost[0].Records += 1 + kind%7
			changed = true
		}
	}
	return changed
}

// dropTail removes the last segment with its object, and makes the chain end before it.
func (f *forger) dropTail(at *shiptest.MemoryDestination, keys []string, i int, m *ship.Manifest, _ uint64) bool {
	last := len(keys) - 1
	if i == 0 {
		f.gone = nil
	}
	if f.gone == nil {
		for len(f.read(at, keys[last]).Segments) == 0 {
			last--
		}
		if i < last {
			return false
		}
		f.gone = &m.Segments[len(m.Segments)-1]
		at.Remove(f.gone.Key)
		m.Segments = m.Segments[:len(m.Segments)-1]
		m.Losses = slices.DeleteFunc(m.Losses, func(l ship.LossLine) bool { return l.Segment == f.gone.Segment })
	} else {
		m.Header.PrevLast = f.gone.First - 1
	}
	m.Footer.Last, m.Footer.Segment = f.gone.First-1, f.gone.Segment-1
	return true
}

// heads makes the heads of the chains that were written again fit.
func (f *forger) heads(spool string, hashes map[string]*ship.Manifest) {
	for _, at := range f.p {
		for _, k := range at.Keys() {
			if !isHead.MatchString(k) || !strings.Contains(k, spool) {
				continue
			}
			h, err := ship.DecodeHead(bytes.NewReader(at.Bytes(k)))
			if err != nil {
				f.t.Fatal(err)
			}
			m := hashes[h.Hash]
			if m == nil {
				continue
			}
			h.Hash, h.Last = hex.EncodeToString(m.Hash[:]), m.Footer.Last
			if f.mode != 1 {
				h.Signature = nil
			}
			b, err := h.Encode()
			if err != nil {
				f.t.Fatal(err)
			}
			at.Set(k, b)
		}
	}
}

// TestForger: a forger with write access everywhere can make a tree in which the auditor finds nothing wrong, unless it checks signatures
// or a signature is left that does not fit its bytes. With the sender's public key, it reports the first manifest that was touched at each
// place, and accuses no other spool.
func TestForger(t *testing.T) {
	key := newKey(1)
	base := signed(t, key)
	keys := func(o *audit.Options) { o.Keys = []ed25519.PublicKey{public(newKey(3)), public(key)} }
	wants(t, base.audit(t, deep, keys), audit.Complete)
	for i := range 60 {
		f := &forger{Rand: rand.New(rand.NewPCG(9, uint64(i))), t: t, p: base.clone(), mode: i % 3, key: newKey(2)}
		first := f.forge()
		r := f.p.audit(t, deep)
		stale := slices.ContainsFunc(r.Findings, func(g audit.Finding) bool {
			return strings.Contains(g.Detail, "its signature does not match its bytes")
		})
		if (r.Verdict != audit.Complete || f.mode == 1) && !stale {
			t.Fatalf("forgery %d does not hold together: %+v", i, r.Findings)
		}
		r = f.p.audit(t, keys)
		for place, manifest := range first {
			if !slices.ContainsFunc(r.Findings, func(g audit.Finding) bool {
				return g.Code == audit.SignatureWrong && g.Place == place && g.Key == manifest
			}) {
				t.Errorf("forgery %d: nothing is said of %s at %s: %+v", i, manifest, place, r.Findings)
			}
		}
		for _, g := range r.Findings {
			if !strings.Contains(first[g.Place], g.Spool) {
				t.Errorf("forgery %d: another spool is accused: %+v", i, g)
			}
		}
		if r.Verdict != audit.Damaged {
			t.Errorf("forgery %d: %s", i, r.Verdict)
		}
	}
}

// TestSigningBegins: a chain whose sender got a key later is vouched for from its beginning. If signing stops, the chain is not vouched for
// from there on.
func TestSigningBegins(t *testing.T) {
	key := newKey(1)
	keys := func(o *audit.Options) { o.Keys = []ed25519.PublicKey{public(key)} }
	p := newPlaces()
	dir := t.TempDir()
	life := func(sign bool) {
		x := send(t, dir, "vpn", "host-a", p.destinations(), func(o *ship.Options) {
			if sign {
				o.Signer = key
			}
		})
		x.segments(2)
		x.finalize("idc", "s3")
		x.end()
	}
	life(false)
	wants(t, p.audit(t, keys), audit.Damaged, audit.SignatureWrong)
	life(true)
	wants(t, p.audit(t, keys), audit.Complete)
	life(false)
	r := p.audit(t, keys)
	wants(t, r, audit.Damaged, audit.SignatureWrong)
	for _, f := range r.Findings {
		if f.First != 81 || f.Last != 120 || f.Epoch != 3 {
			t.Errorf("%+v", f)
		}
	}
	if len(r.Findings) != 2 {
		t.Errorf("%d findings, one a place is enough", len(r.Findings))
	}
}
