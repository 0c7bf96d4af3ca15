package segment

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"testing"
	"testing/iotest"
)

// counter counts what is read through it.
type counter struct {
	io.ReaderAt
	bytes int64
	fail  func(off int64, n int) error
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	if c.fail != nil {
		if err := c.fail(off, len(p)); err != nil {
			return 0, err
		}
	}
	c.bytes += int64(len(p))
	return c.ReaderAt.ReadAt(p, off)
}

func TestReadLarge(t *testing.T) {
	m := newMade(t, testHeader(), 4096)
	for i := range 60 {
		m.records(1+i%9, 7*i, int64(len(m.data)))
	}
	m.records(1, 3<<20, 0)
	m.records(1, MaxRecord, 0)
	m.records(1, 1, 0)
	m.seal(t)
	m.check(t, m.data, "sealed", none)
}

// TestBufferStaysSmall reads absurd lengths: they cost no memory, since a block has to lie within the file.
func TestBufferStaysSmall(t *testing.T) {
	m := newMade(t, testHeader(), 4096)
	for range 300 {
		m.records(64, 512, 0)
	}
	r := m.open(t, ReadOptions{})
	readAll(t, r)
	if n := cap(r.f.w.buf); n > readAhead {
		t.Errorf("buffer of %d bytes, want at most %d", n, readAhead)
	}
}

func TestSeek(t *testing.T) {
	for name, m := range mutants(t) {
		t.Run(name, func(t *testing.T) {
			first, last := m.header.First, m.next-1
			broken := func(i int) bool { return i == 3 || i == 4 }
			data := bytes.Clone(m.data)
			clear(data[m.blocks[3].off:m.blocks[4].end])
			all, _ := m.expect(broken)

			moved, err := NewReader(bytes.NewReader(data), int64(len(data)), nil)
			if err != nil {
				t.Fatal(err)
			}
			// Forward, backward, and out of range, with one Reader and with a new one for each.
			var order []uint64
			for i := range 3 * (last - first) {
				order = append(order, first-2+(i*7)%(last-first+5))
			}
			for _, seq := range order {
				var want []event
				for _, e := range all {
					d := e.damage
					switch {
					case e.seq != 0 && e.seq < seq, e.seq == 0 && d.First < seq && d.Last < seq:
						continue
					case e.seq == 0:
						e.damage.First = max(d.First, seq)
					}
					want = append(want, e)
				}
				fresh, err := NewReader(bytes.NewReader(data), int64(len(data)), nil)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range []*Reader{moved, fresh} {
					if err := r.Seek(seq); err != nil {
						t.Fatal(err)
					}
					if got := readAll(t, r); !slices.Equal(got, want) {
						t.Fatalf("Seek(%d):\n got %v\nwant %v", seq, got, want)
					}
				}
				// Stop in the middle of a block before the next Seek.
				if err := moved.Seek(seq / 2); err != nil {
					t.Fatal(err)
				}
				_, _, _ = moved.Next()
			}
		})
	}
}

// TestSeekCost: in a sealed segment Seek reads one stretch, wherever it leads.
func TestSeekCost(t *testing.T) {
	m := newMade(t, testHeader(), 4096)
	for range 2000 {
		m.records(16, 512, 0)
	}
	m.seal(t)
	c := &counter{ReaderAt: bytes.NewReader(m.data)}
	r, err := NewReader(c, int64(len(m.data)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if c.bytes > 64<<10 {
		t.Errorf("opening read %d bytes", c.bytes)
	}
	for seq := m.header.First; seq < m.next; seq += 997 {
		c.bytes = 0
		if err := r.Seek(seq); err != nil {
			t.Fatal(err)
		}
		if got, _, err := r.Next(); got != seq || err != nil {
			t.Fatalf("Seek(%d): %d, %v", seq, got, err)
		}
		if c.bytes > readAhead {
			t.Errorf("Seek(%d) read %d bytes", seq, c.bytes)
		}
	}
}

// TestBounds: ReadOptions limit which records are read.
func TestBounds(t *testing.T) {
	m := mutants(t)["active unsynced"]
	at := func(i int) int64 { return m.blocks[i].off }
	data := bytes.Clone(m.data)
	data[at(5)+40] ^= 1 // block 5 is broken, and no mark says that this is damage
	records := func(from, to uint64) (events []event) {
		for ; from < to; from++ {
			events = append(events, event{seq: from})
		}
		return events
	}
	b := m.blocks
	lost := event{damage: DamageError{First: b[5].first, Last: b[5].next - 1, Offset: at(5), End: at(6)}}
	rest := records(b[6].first, m.next)
	upTo5 := records(1000, b[5].first)
	for name, tc := range map[string]struct {
		o    ReadOptions
		want []event
	}{
		"nothing known": {ReadOptions{}, upTo5},
		"end before":    {ReadOptions{End: at(4)}, records(1000, b[4].first)},
		"end within":    {ReadOptions{End: at(4) + 50}, records(1000, b[4].first)},
		"end and mark":  {ReadOptions{End: at(7), Durable: at(7)}, append(append(slices.Clone(upTo5), lost), records(b[6].first, b[7].first)...)},
		"mark behind":   {ReadOptions{Durable: at(5) + 1}, append(append(slices.Clone(upTo5), lost), rest...)},
		"end in header": {ReadOptions{End: 51, Next: 1002}, []event{{damage: DamageError{First: 1000, Last: 1001, Offset: at(0), End: at(0)}}}},
		"mark before":   {ReadOptions{Durable: at(5)}, upTo5},
		"next within block": {
			ReadOptions{Next: b[3].next - 1},
			append(records(1000, b[3].first), event{
				damage: DamageError{First: b[3].first, Last: b[3].next - 2, Offset: at(3), End: int64(len(data))},
			}),
		},
		"next between":     {ReadOptions{Next: b[4].first}, records(1000, b[4].first)},
		"next at torn":     {ReadOptions{Next: b[5].first}, upTo5},
		"next behind torn": {ReadOptions{Next: b[5].next}, append(slices.Clone(upTo5), lost)},
		"next behind all": {ReadOptions{Next: m.next + 5}, append(append(append(slices.Clone(upTo5), lost), rest...),
			event{damage: DamageError{First: m.next, Last: m.next + 4, Offset: int64(len(data)), End: int64(len(data))}})},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := NewReader(bytes.NewReader(data), int64(len(data)), &tc.o)
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, r); !slices.Equal(got, tc.want) {
				t.Errorf("\n got %v\nwant %v", got, tc.want)
			}
		})
	}
	if _, err := NewReader(bytes.NewReader(data), int64(len(data)), &ReadOptions{Segment: 8}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("another segment's number: %v", err)
	}
}

// TestHeaderDamaged: a sealed segment is read in full by the copy in its footer, any with a copy from elsewhere.
func TestHeaderDamaged(t *testing.T) {
	for name, m := range mutants(t) {
		h, err := DecodeHeader(m.data)
		if err != nil {
			t.Fatal(err)
		}
		all, _ := m.expect(none)
		lost := event{damage: DamageError{First: 1000, Last: 999, End: int64(h.Len)}}
		for at := range h.Len {
			data := bytes.Clone(m.data)
			data[at] ^= 1 << (at % 8)
			_, err := NewReader(bytes.NewReader(data), int64(len(data)), nil)
			if m.sealed != (err == nil) || err != nil && (!errors.Is(err, ErrCorrupt) || errors.Is(err, ErrVersion)) {
				t.Fatalf("%s: byte %d: %v", name, at, err)
			}
			for _, known := range []*Header{nil, h} {
				r, err := NewReader(bytes.NewReader(data), int64(len(data)), &ReadOptions{Header: known})
				if known == nil && !m.sealed {
					continue
				}
				if err != nil {
					t.Fatalf("%s: byte %d: %v", name, at, err)
				}
				if got, want := readAll(t, r), append([]event{lost}, all...); !slices.Equal(got, want) {
					t.Fatalf("%s: byte %d:\n got %v\nwant %v", name, at, got, want)
				}
			}
		}
	}
}

// TestTrailerDamaged: walking to the footer finds it, and its mark still shows damage.
func TestTrailerDamaged(t *testing.T) {
	m := mutants(t)["sealed"]
	for i := range TrailerSize {
		data := bytes.Clone(m.data)
		data[len(data)-1-i] ^= 0x10
		m.check(t, data, "trailer", none)
		data[m.blocks[4].off+20] ^= 1
		m.check(t, data, "trailer and block 4", func(i int) bool { return i == 4 })
	}
}

// TestStaleTrailer: the trailer of a recycled file's former life is none.
func TestStaleTrailer(t *testing.T) {
	old := mutants(t)["sealed"]
	h := testHeader()
	h.Generation, h.First = 99, 5000
	m := newMade(t, h, 16)
	for len(m.data) < len(old.data)/2 {
		m.records(2, 30, 0)
	}
	data := append(bytes.Clone(m.data), old.data[len(m.data):]...)
	m.check(t, data, "recycled", none)
}

// TestReadErrors: a read that fails is an error, and the same call tries again; only on request it becomes damage.
func TestReadErrors(t *testing.T) {
	m := newMade(t, testHeader(), 4096)
	for range 200 {
		m.records(8, 512, int64(len(m.data)))
	}
	m.seal(t)
	all, _ := m.expect(none)
	reads := 0
	c := &counter{ReaderAt: bytes.NewReader(m.data)}
	c.fail = func(int64, int) error {
		if reads++; reads%6 == 1 {
			return iotest.ErrTimeout
		}
		return nil
	}
	var r *Reader
	err := iotest.ErrTimeout
	for try := 0; err != nil; try++ {
		if r, err = NewReader(c, int64(len(m.data)), nil); err != nil && !errors.Is(err, iotest.ErrTimeout) || try > 10 {
			t.Fatal(err)
		}
	}
	var got []event
	failed := 0
	for {
		seq, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			if !errors.Is(err, iotest.ErrTimeout) || errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			failed++
			continue
		}
		got = append(got, event{seq: seq})
	}
	if !slices.Equal(got, all) || failed == 0 {
		t.Errorf("%d records of %d, %d failed reads", len(got), len(all), failed)
	}
}

// TestSkipUnreadable: the blocks in unreadable sectors are reported as damage, with the disk's error.
func TestSkipUnreadable(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		m := newMade(t, testHeader(), 4096)
		for range 100 {
			m.records(4, 100, int64(len(m.data)))
		}
		m.ledger(t, Ledger{}, int64(len(m.data)))
		if sealed {
			m.seal(t)
		}
		h, err := DecodeHeader(m.data)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range []struct{ from, to int64 }{{0, 4096}, {4096, 8192}, {6 * 4096, 9 * 4096}} {
			c := &counter{ReaderAt: bytes.NewReader(m.data), fail: func(off int64, n int) error {
				if off < bad.to && off+int64(n) > bad.from {
					return iotest.ErrTimeout
				}
				return nil
			}}
			r, err := NewReader(c, int64(len(m.data)), &ReadOptions{SkipUnreadable: true, Header: h})
			if err != nil {
				t.Fatal(err)
			}
			want, _ := m.expect(func(i int) bool { return m.blocks[i].off < bad.to && m.blocks[i].end > bad.from })
			if bad.from == 0 {
				want = append([]event{{damage: DamageError{First: 1000, Last: 999, End: 4096}}}, want...)
			}
			got := readAll(t, r)
			for i := range got {
				if got[i].seq == 0 && !errors.Is(&got[i].damage, iotest.ErrTimeout) {
					t.Errorf("%v does not say why", got[i])
				}
				got[i].damage.Err = nil
			}
			if !slices.Equal(got, want) {
				t.Fatalf("%v:\n got %v\nwant %v", bad, got, want)
			}
		}
	}
}
