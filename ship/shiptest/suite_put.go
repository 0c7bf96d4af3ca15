package shiptest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/penstock-go/penstock/ship"
)

// putStatOpen: Stat and Open return what was put.
func (s *suite) putStatOpen() {
	key, b := s.key("a"), random(100_000)
	s.mustPut(key, b)
	s.wantContent(key, b)
}

// absent: every method reports an object that was never put as absent.
func (s *suite) absent() {
	s.wantAbsent(s.key("no/such/object"))
	s.mustPut(s.key("folder/object"), random(10))
	// A folder is no object, and an object no folder.
	s.wantAbsent(s.key("folder"))
	s.wantAbsent(s.key("folder/object/below"))
}

// empty: an object without bytes is an object.
func (s *suite) empty() {
	key := s.key("empty")
	s.mustPut(key, nil)
	s.wantContent(key, nil)
	if _, err := s.put(key, []byte{0}); !errors.Is(err, ship.ErrConflict) {
		s.Errorf("Put of a byte over an empty object: %v, want ErrConflict", err)
	}
}

// large: an object so large that drivers send it in parts.
func (s *suite) large() {
	// Beyond one part of a multipart upload, and no multiple of any block.
	key, b := s.key("large"), random(9<<20+4711)
	s.mustPut(key, b)
	s.wantContent(key, b)
	s.mustPut(key, b)
}

// names: the keys that Penstock makes, and some that try the escaping of URLs and shells.
func (s *suite) names() {
	for _, name := range []string{
		"class=vpn/dt=2026-11-22/hour=08/0000000000000000000000000a-000001-0000000000000001-00000000000f4240.ndjson.zst",
		"_manifest/vpn/0000000000000000000000000a/000001/000000000000.jsonl",
		"_manifest/vpn/0000000000000000000000000a/000001/heads/idc-000000000000.json",
		"_report/with space and + & % ~ (1).json",
		"..dots..",
	} {
		b := random(300)
		s.mustPut(s.key(name), b)
		s.wantContent(s.key(name), b)
	}
}

// badKeys: every destination refuses a key that could leave its prefix or be ambiguous.
func (s *suite) badKeys() {
	for _, key := range []string{"", "/" + s.key("a"), "../" + s.key("a"), s.key("../../../a"), s.key("a//b"), s.key("a/"), s.key("./a"), s.key("a\x00b"), s.key(`a\b`)} {
		if _, err := s.put(key, random(10)); err == nil {
			s.Errorf("Put(%q) succeeds, ship.CheckKey refuses it", key)
		}
	}
}

// putAgain: a Put that is repeated after a lost response finds its own object.
func (s *suite) putAgain() {
	key, b := s.key("a"), random(50_000)
	first := s.mustPut(key, b)
	second := s.mustPut(key, b)
	if first.Size != second.Size {
		s.Errorf("receipts differ: %+v, %+v", first, second)
	}
	// The caller may not know that it has sent the object.
	if third, err := s.putNew(key, b); err != nil || first.Size != third.Size {
		s.Errorf("Put of the same bytes, said to be new: %+v, %v", third, err)
	}
	s.wantContent(key, b)
}

// conflict: other bytes are never overwritten, whatever their length.
func (s *suite) conflict() {
	key, b := s.key("a"), random(50_000)
	s.mustPut(key, b)
	flipped := bytes.Clone(b)
	flipped[len(b)/2] ^= 1
	// Adding the polynomial of CRC-64/NVME anywhere does not change that checksum: anybody can make such bytes.
	sameCRC := bytes.Clone(b)
	for i, x := range []byte("\x6b\x93\x97\x58\x53\x26\xd9\x34\x01") {
		sameCRC[i] ^= x
	}
	for name, other := range map[string][]byte{"flipped": flipped, "same CRC-64": sameCRC, "shorter": b[1:], "longer": random(50_001), "empty": nil} {
		for _, put := range []func(string, []byte) (ship.Receipt, error){s.put, s.putNew} {
			if _, err := put(key, other); !errors.Is(err, ship.ErrConflict) {
				s.Errorf("Put of other bytes (%s): %v, want ErrConflict", name, err)
			} else if ship.IsPermanent(err) {
				s.Errorf("ErrConflict is marked Permanent: it speaks of one key, not of the destination")
			}
		}
	}
	s.wantContent(key, b)
}

// wrongChecksum imitates a body that was damaged between the staged file and the wire.
func (s *suite) wrongChecksum() {
	b := random(20_000)
	flipped := bytes.Clone(b)
	flipped[7] ^= 0x10
	for name, body := range map[string][]byte{"flipped": flipped, "short": b[:19_999], "long": append(bytes.Clone(b), 0), "empty": nil} {
		key := s.key(name)
		if _, err := s.d.Put(s.ctx, s.object(key, b), section(body)); err == nil {
			s.Errorf("Put of a body that is not what its checksum says (%s) succeeds", name)
		}
		s.wantAbsent(key)
		// The same key takes the right bytes afterwards.
		s.mustPut(key, b)
		s.wantContent(key, b)
	}
}

// hookReader calls hook once, when the byte at offset is about to be read.
type hookReader struct {
	io.ReaderAt
	offset int64
	once   sync.Once
	hook   func() error
}

func (h *hookReader) ReadAt(p []byte, off int64) (n int, err error) {
	if off <= h.offset && h.offset < off+int64(len(p)) {
		h.once.Do(func() { err = h.hook() })
		if err != nil {
			return 0, err
		}
	}
	return h.ReaderAt.ReadAt(p, off)
}

// bodyFails: the local disk fails in the middle of an upload.
func (s *suite) bodyFails() {
	key, b := s.key("a"), random(5<<20+300_000)
	broken := errors.New("shiptest: the disk below the body failed")
	h := &hookReader{ReaderAt: bytes.NewReader(b), offset: 5 << 20, hook: func() error { return broken }}
	body := io.NewSectionReader(h, 0, int64(len(b)))
	if _, err := s.d.Put(s.ctx, s.object(key, b), body); err == nil {
		s.Errorf("Put succeeds though its body could not be read")
	}
	s.wantAbsent(key)
	// The same body serves the retry, wherever the failed attempt left it.
	if _, err := body.Seek(0, io.SeekEnd); err != nil {
		s.Fatal(err)
	}
	if _, err := s.d.Put(s.ctx, s.object(key, b), body); err != nil {
		s.Errorf("Put after a failed one: %v", err)
	}
	s.wantContent(key, b)
}

// cancelledBefore: a context that has ended ends everything.
func (s *suite) cancelledBefore() {
	key, b := s.key("a"), random(1000)
	ctx, cancel := context.WithCancel(s.ctx)
	cancel()
	if _, err := s.d.Put(ctx, s.object(key, b), section(b)); err == nil {
		s.Error("Put with a cancelled context succeeds")
	}
	s.wantAbsent(key)
	s.mustPut(key, b)
	if _, err := s.d.Stat(ctx, key); err == nil {
		s.Error("Stat with a cancelled context succeeds")
	}
}

// cancelledDuring: a deadline in the middle of an upload leaves no visible object, and the key stays free.
func (s *suite) cancelledDuring() {
	key, b := s.key("a"), random(5<<20+300_000)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	h := &hookReader{ReaderAt: bytes.NewReader(b), offset: 1 << 20, hook: func() error { cancel(); return nil }}
	if _, err := s.d.Put(ctx, s.object(key, b), io.NewSectionReader(h, 0, int64(len(b)))); err == nil {
		s.Error("Put succeeds though its context was cancelled in mid-body")
	}
	s.wantAbsent(key)
	s.mustPut(key, b)
	s.wantContent(key, b)
}

// concurrentSame: two processes that repeat one upload both succeed.
func (s *suite) concurrentSame() {
	key, b := s.key("a"), random(300_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			r, err := s.put(key, b)
			if err != nil {
				s.Errorf("Put: %v", err)
				return
			}
			s.wantReceipt("Put", key, b, r)
		})
	}
	wg.Wait()
	s.wantContent(key, b)
}

// concurrentDifferent: of several Puts to one key one succeeds, all others get ErrConflict, and no bytes are mixed.
func (s *suite) concurrentDifferent() {
	s.race(s.key("a"), s.put)
	s.race(s.key("b"), s.putNew)
}

func (s *suite) race(key string, put func(key string, b []byte) (ship.Receipt, error)) {
	s.Helper()
	bodies := make([][]byte, 8)
	for i := range bodies {
		bodies[i] = random(300_000)
	}
	errs := make([]error, len(bodies))
	var wg sync.WaitGroup
	for i, b := range bodies {
		wg.Go(func() { _, errs[i] = put(key, b) })
	}
	wg.Wait()
	winner := -1
	for i, err := range errs {
		switch {
		case err == nil && winner >= 0:
			s.Errorf("two Puts of different bytes under one key succeed")
		case err == nil:
			winner = i
		case !errors.Is(err, ship.ErrConflict):
			// A store may answer some racing Puts with "try again": the repeated Put must then return ErrConflict.
			if _, err := put(key, bodies[i]); !errors.Is(err, ship.ErrConflict) {
				s.Errorf("losing Put, tried again: %v, want ErrConflict", err)
			}
		}
	}
	if winner < 0 {
		s.Fatalf("no Put succeeds: %v", errors.Join(errs...))
	}
	s.wantContent(key, bodies[winner])
}

// concurrentKeys makes many objects in the same new folders at once.
func (s *suite) concurrentKeys() {
	bodies := map[string][]byte{}
	for _, name := range []string{"x/y/a", "x/y/b", "x/y/c", "x/z/a", "x/z/b", "x/a", "w", "x/y/z/a"} {
		bodies[s.key(name)] = random(10_000)
	}
	var wg sync.WaitGroup
	for key, b := range bodies {
		wg.Go(func() {
			if _, err := s.put(key, b); err != nil {
				s.Errorf("Put(%s): %v", key, err)
			}
		})
	}
	wg.Wait()
	for key, b := range bodies {
		s.wantContent(key, b)
	}
}
