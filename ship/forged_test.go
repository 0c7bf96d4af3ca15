package ship_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// forgery is a manifest that a stranger with write access to a destination stores under the next number of a chain.
type forgery struct {
	mem *shiptest.MemoryDestination
	*ship.Manifest
}

// forge returns a manifest that continues a chain and states nothing.
func forge(t *testing.T, mem *shiptest.MemoryDestination, b *bench) *forgery {
	t.Helper()
	c, err := b.sp.Shelf().Chain("s3")
	if err != nil {
		t.Fatal(err)
	}
	return &forgery{mem, &ship.Manifest{
		Header: ship.ManifestHeader{
			Class: "vpn", Spool: c.Spool, Epoch: c.Epoch, Number: c.Next, Prev: hex.EncodeToString(c.Hash[:]), PrevLast: c.Through,
			Instance: "stranger", Destination: "s3", Time: time.Now().UTC(),
		},
		Footer: ship.ManifestFooter{Segment: c.Segment, Last: c.Through},
	}}
}

func (f *forgery) put(t *testing.T) {
	t.Helper()
	b, err := f.Encode()
	if err != nil {
		t.Fatal(err)
	}
	f.mem.Set(object.ManifestKey("vpn", f.Header.Spool, f.Header.Epoch, f.Header.Number), b)
}

// state makes the manifest list what a copy of the spool would deliver next, with hashes and sizes from another destination.
// It returns the copy's objects by key.
func (f *forgery) state(t *testing.T, b *bench, change ...func(*ship.Options)) map[string][]byte {
	t.Helper()
	elsewhere := shiptest.Memory()
	for _, key := range f.mem.Keys() {
		elsewhere.Set(key, f.mem.Bytes(key))
	}
	dir := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	d := destinations{"s3": elsewhere}
	c := openBench(t, dir, d, "host-a")
	c.ship(d, append(change, quick)...)
	c.flush()
	c.close()
	objects := map[string][]byte{}
	for m, err := range ship.ReadChain(t.Context(), elsewhere, "vpn", f.Header.Spool, 2) { // a copy begins an epoch
		if err != nil {
			t.Fatal(err)
		}
		f.Segments = append(f.Segments, m.Segments...)
		f.Footer.Segment, f.Footer.Last = m.Footer.Segment, m.Footer.Last
	}
	for _, line := range f.Segments {
		objects[line.Key] = elsewhere.Bytes(line.Key)
	}
	if len(objects) == 0 {
		t.Fatal("the copy has delivered nothing")
	}
	return objects
}

// sameCRC returns other bytes with the same size and CRC-64/NVME: adding the polynomial anywhere does not change it.
func sameCRC(b []byte) []byte {
	b = bytes.Clone(b)
	for i, x := range []byte("\x6b\x93\x97\x58\x53\x26\xd9\x34\x01") {
		b[i] ^= x
	}
	return b
}

// TestForgedManifest: a stranger continues the chain at a destination. Whatever the manifest says, every record is delivered
// in the end, and the sender continues.
func TestForgedManifest(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	sign := func(o *ship.Options) { o.Signer = key }
	for name, c := range map[string]struct {
		active  bool // records in the active segment
		options []func(*ship.Options)
		forge   func(t *testing.T, f *forgery, b *bench)
		stays   bool // what it says does no harm
	}{
		"true": {forge: func(t *testing.T, f *forgery, b *bench) {
			for key, body := range f.state(t, b) {
				f.mem.Set(key, body)
			}
		}, stays: true},
		"true, other level": {forge: func(t *testing.T, f *forgery, b *bench) {
			for key, body := range f.state(t, b, func(o *ship.Options) { o.Level = 9 }) {
				f.mem.Set(key, body)
			}
		}, stays: true},
		"a hole": {forge: func(_ *testing.T, f *forgery, _ *bench) {
			f.Header.PrevLast, f.Footer.Last = 1_000_000, 1_000_000
		}},
		"a hole, last segment": {forge: func(t *testing.T, f *forgery, b *bench) {
			for key, body := range f.state(t, b) {
				f.mem.Set(key, body)
			}
			f.Segments = f.Segments[1:]
			f.Header.PrevLast = f.Segments[0].First - 1
		}},
		"no objects":         {forge: func(t *testing.T, f *forgery, b *bench) { f.state(t, b) }},
		"no objects, active": {active: true, forge: func(t *testing.T, f *forgery, b *bench) { f.state(t, b) }},
		"other objects": {forge: func(t *testing.T, f *forgery, b *bench) {
			f.state(t, b)
			for i := range f.Segments {
				line := &f.Segments[i]
				o := ship.BytesObject("", "", []byte("something else"))
				line.Key = object.WithHash(line.Key, line.RawSHA256)
				line.Size, line.SHA256 = o.Size, hexOf(o.SHA256)
				line.Receipt.Size, line.Receipt.Checksum = o.Size, ship.SHA256Checksum(o.SHA256)
				f.mem.Set(line.Key, []byte("something else"))
			}
		}},
		"objects with the right CRC": {forge: func(t *testing.T, f *forgery, b *bench) {
			for key, body := range f.state(t, b, func(o *ship.Options) { o.Codec, o.Level = "none", 0 }) {
				f.mem.Set(key, sameCRC(body))
			}
		}},
		"cut objects": {forge: func(t *testing.T, f *forgery, b *bench) {
			for key, body := range f.state(t, b, func(o *ship.Options) { o.Codec, o.Level = "none", 0 }) {
				lines := bytes.SplitAfter(body, []byte("\n"))
				f.mem.Set(key, bytes.Join(lines[:4], nil))
			}
		}},
		"gaps": {forge: func(t *testing.T, f *forgery, b *bench) {
			for key, body := range f.state(t, b, func(o *ship.Options) { o.Codec, o.Level = "none", 0 }) {
				f.mem.Set(key, bytes.SplitAfter(body, []byte("\n"))[0])
			}
			for i := range f.Segments {
				line := &f.Segments[i]
				line.Records, line.Gaps = 1, []segment.Range{{First: line.First + 1, Last: line.Last}}
			}
		}},
		"unsigned": {options: []func(*ship.Options){sign}, forge: func(t *testing.T, f *forgery, b *bench) {
			f.state(t, b)
		}},
		"unsigned, after junk": {options: []func(*ship.Options){sign}, forge: func(t *testing.T, f *forgery, b *bench) {
			for key, body := range f.state(t, b) {
				f.mem.Set(key, body)
			}
			f.mem.Set(object.ManifestKey("vpn", f.Header.Spool, f.Header.Epoch, f.Header.Number-1), []byte("junk"))
		}},
		"unsigned, nothing stated": {options: []func(*ship.Options){sign}, forge: func(*testing.T, *forgery, *bench) {}},
		"signed": {options: []func(*ship.Options){sign}, forge: func(t *testing.T, f *forgery, _ *bench) {
			if err := f.Sign(key); err != nil {
				t.Fatal(err)
			}
		}, stays: true},
		"passed":          {forge: func(_ *testing.T, f *forgery, _ *bench) { f.Footer.Passed = time.Now().UTC() }},
		"passed, active":  {active: true, forge: func(_ *testing.T, f *forgery, _ *bench) { f.Footer.Passed = time.Now().UTC() }},
		"passed, to come": {forge: func(_ *testing.T, f *forgery, _ *bench) { f.Footer.Passed = time.Now().UTC().Add(time.Hour) }},
		"passed long ago": {forge: func(_ *testing.T, f *forgery, _ *bench) { f.Footer.Passed = time.Unix(1, 0).UTC() }, stays: true},
		"the last epoch": {forge: func(_ *testing.T, f *forgery, _ *bench) {
			f.Footer.ClosedBy = &ship.Owner{Instance: "stranger", Epoch: object.MaxEpoch}
		}},
		"a later epoch": {forge: func(_ *testing.T, f *forgery, _ *bench) {
			f.Footer.ClosedBy = &ship.Owner{Instance: "stranger", Epoch: 500}
		}, stays: true},
	} {
		t.Run(name, func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": mem}
			b := newBench(t, d)
			b.segments(2, 10)
			b.ship(d, append(c.options, quick)...)
			b.flush()
			b.close()
			b = openBench(t, b.dir, d, "host-a")
			b.segments(2, 10)
			if c.active {
				b.append(10)
				if err := b.sp.WaitDurable(t.Context(), uint64(b.next)); err != nil {
					t.Fatal(err)
				}
			}
			f := forge(t, mem, b)
			c.forge(t, f, b)
			f.put(t)
			id := b.sp.Stats().Spool
			b.ship(d, append(c.options, quick)...)
			if err := b.sp.Seal(t.Context()); err != nil {
				t.Fatal(err)
			}
			b.flush()
			if err := b.s.Finalize(t.Context(), "s3"); err != nil {
				t.Error(err)
			}
			if chain, err := b.sp.Shelf().Chain("s3"); err != nil || (chain.Spool == id) != c.stays {
				t.Errorf("the chain: %+v, %v\n%s", chain, err, b.log)
			}
			b.close()
			there := map[string]bool{}
			for _, key := range mem.Keys() {
				if strings.HasPrefix(key, "class=") && !slices.Contains([]string{"something else"}, string(mem.Bytes(key))) {
					for _, p := range payloadsIn(t, mem, key) {
						there[p] = true
					}
				}
			}
			for _, p := range numbered(0, b.next) {
				if !there[p] {
					t.Errorf("%s is not there", p)
				}
			}
		})
	}
}

// TestForgedInSession: while a sender that signs is writing its next manifest, a stranger overwrites the last one, and is quicker with
// an unsigned one that has the sender's own lines. The sender does not accept it: no key vouches for those lines.
func TestForgedInSession(t *testing.T) {
	key := ed25519.NewKeyFromSeed(make([]byte, 32))
	mem := shiptest.Memory()
	var stranger atomic.Pointer[func() error]
	d := destinations{"s3": shiptest.Faulty(mem, func(c shiptest.Call) shiptest.Fault {
		if f := stranger.Load(); f != nil && c.Op == shiptest.Put && !isData(c) && stranger.CompareAndSwap(f, nil) {
			return shiptest.Fault{Before: func(context.Context) error { return (*f)() }}
		}
		return shiptest.Fault{}
	})}
	b := newBench(t, d)
	id := b.sp.Stats().Spool
	b.segments(1, 10)
	b.ship(d, quick, func(o *ship.Options) { o.Signer = key })
	b.flush()
	stranger.Store(new(func() error {
		proposed, err := b.sp.Shelf().Proposed("s3")
		if err != nil {
			return err
		}
		m, err := ship.DecodeManifest(bytes.NewReader(proposed))
		if err != nil {
			return err
		}
		m.Header.Instance, m.Signature = "stranger", nil
		unsigned, err := m.Encode()
		mem.Set(object.ManifestKey("vpn", id, m.Header.Epoch, m.Header.Number-1), []byte("junk"))
		mem.Set(object.ManifestKey("vpn", id, m.Header.Epoch, m.Header.Number), unsigned)
		return err
	}))
	b.segments(1, 10)
	b.flush()
	b.close()
	c, err := b.sp.Shelf().Chain("s3")
	if err != nil || c.Spool == id || c.Through != 20 {
		t.Fatalf("the chain: %+v, %v\n%s", c, err, b.log)
	}
	signed := 0
	for m, err := range ship.ReadChain(t.Context(), mem, "vpn", c.Spool, c.Epoch) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.CheckSignature(key.Public().(ed25519.PublicKey)); err != nil {
			t.Error(err)
		}
		for _, line := range m.Segments {
			signed += len(content(t, mem, line))
		}
	}
	if signed != 10 {
		t.Errorf("%d records are in signed lines", signed)
	}
}

// TestForgedLine: a stranger's manifest states the sender's segments, and its objects are right, but one line does not describe its
// object. The sender leaves the chain before that segment, so that an audit calls no object damaged that the sender vouches for.
func TestForgedLine(t *testing.T) {
	for name, change := range map[string]func(*ship.SegmentLine){
		"size of the receipt":     func(s *ship.SegmentLine) { s.Receipt.Size++ },
		"checksum of the receipt": func(s *ship.SegmentLine) { s.Receipt.Checksum = ship.CRC64Checksum(1) },
		"SHA-256": func(s *ship.SegmentLine) {
			s.Receipt.Checksum = "crc64nvme:" + s.CRC64NVME
			s.SHA256 = strings.Repeat("0", 64)
		},
		"CRC": func(s *ship.SegmentLine) {
			s.Receipt.Checksum = "sha256:" + s.SHA256
			s.CRC64NVME = strings.Repeat("0", 16)
		},
		"length":        func(s *ship.SegmentLine) { s.RawBytes++ },
		"earliest time": func(s *ship.SegmentLine) { s.MinTime = s.MinTime.Add(-time.Hour) },
		"latest time":   func(s *ship.SegmentLine) { s.MaxTime = s.MaxTime.Add(time.Hour) },
	} {
		t.Run(name, func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": mem}
			b := newBench(t, d)
			id := b.sp.Stats().Spool
			b.segments(2, 10)
			b.ship(d, quick)
			b.flush()
			b.close()
			b = openBench(t, b.dir, d, "host-a")
			b.segments(2, 10)
			f := forge(t, mem, b)
			for key, body := range f.state(t, b) {
				mem.Set(key, body)
			}
			last := &f.Segments[len(f.Segments)-1]
			change(last)
			f.put(t)
			b.ship(d, quick)
			b.flush()
			b.close()
			c, err := b.sp.Shelf().Chain("s3")
			if err != nil || c.Spool == id || c.Through != uint64(b.next) {
				t.Fatalf("the chain: %+v, %v\n%s", c, err, b.log)
			}
			n := last.First
			for m, err := range ship.ReadChain(t.Context(), mem, "vpn", c.Spool, c.Epoch) {
				if err != nil {
					t.Fatal(err)
				}
				for _, line := range m.Segments {
					for _, p := range content(t, mem, line) {
						if p != payload(int(n-1)) {
							t.Errorf("record %d is %q", n, p)
						}
						n++
					}
				}
			}
			if n != uint64(b.next)+1 {
				t.Errorf("the new chain ends before record %d", n)
			}
			r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Destination: mem}}, Deep: true})
			if err != nil {
				t.Fatal(err)
			}
			seen := false
			for _, x := range r.Findings {
				seen = seen || x.Code == audit.ObjectAltered && x.Key == last.Key
				if x.Verdict == audit.Damaged && x.Key != last.Key && x.Code != audit.RecordsDoubled { // both chains have the segment
					t.Errorf("%+v", x)
				}
			}
			if !seen {
				t.Errorf("the audit does not see the false line: %+v", r.Findings)
			}
		})
	}
}

// payloadsIn returns the payloads in an object, compressed or not.
func payloadsIn(t *testing.T, mem *shiptest.MemoryDestination, key string) []string {
	t.Helper()
	if strings.HasSuffix(key, ".zst") {
		return objectPayloads(t, mem, key)
	}
	var data []string
	for line := range strings.Lines(string(mem.Bytes(key))) {
		_, rest, _ := strings.Cut(line, `"data":"`)
		p, _, _ := strings.Cut(rest, `"`)
		data = append(data, p)
	}
	return data
}
