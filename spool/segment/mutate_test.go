package segment

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
)

// event is what a Reader returns: a record's number, or damage.
type event struct {
	seq    uint64
	damage DamageError
}

func (e event) String() string {
	if e.seq != 0 {
		return fmt.Sprint(e.seq)
	}
	return e.damage.Error()
}

// readAll reads to the end, and fails on every record that is not as it was written.
func readAll(tb testing.TB, r *Reader) (events []event) {
	tb.Helper()
	for {
		seq, rec, err := r.Next()
		var d *DamageError
		switch {
		case err == io.EOF:
			if _, _, again := r.Next(); again != io.EOF {
				tb.Fatalf("after the end: %v", again)
			}
			return events
		case errors.As(err, &d):
			if !errors.Is(err, ErrCorrupt) {
				tb.Fatalf("%v is not ErrCorrupt", err)
			}
			events = append(events, event{damage: *d})
		case err != nil:
			tb.Fatal(err)
		default:
			want := testRecord(seq, len(rec.Data))
			if rec.Time != want.Time || rec.Src != want.Src || !bytes.Equal(rec.Data, want.Data) || !rec.Attrs.Equal(want.Attrs) {
				tb.Fatalf("record %d is not what was written: %v", seq, rec)
			}
			events = append(events, event{seq: seq})
		}
	}
}

// expect returns what a reader must return for m with some of its blocks (by index) no longer valid. It implements the rule of
// FORMAT.md again, from the writer's data instead of from the bytes. The segment ends before block
// torn.
func (m *made) expect(broken func(i int) bool) (events []event, torn int) {
	var mark int64
	for i, b := range m.blocks {
		if !broken(i) {
			mark = max(mark, b.mark)
		}
	}
	if m.sealed {
		mark = int64(len(m.data))
	}
	for i := 0; i < len(m.blocks); i++ {
		b := m.blocks[i]
		if !broken(i) {
			for seq := b.first; seq < b.next; seq++ {
				events = append(events, event{seq: seq})
			}
			continue
		}
		if b.off >= mark {
			return events, i
		}
		d := DamageError{First: b.first, Offset: b.off}
		for i+1 < len(m.blocks) && broken(i+1) {
			i++
		}
		d.End, d.Last = int64(len(m.data)), Unbounded
		switch {
		case i+1 < len(m.blocks):
			d.End, d.Last = m.blocks[i+1].off, m.blocks[i+1].first-1
		case b.typ == FooterBlock: // the trailer still says where it began
			d.Last = b.first - 1
		}
		events = append(events, event{damage: d})
	}
	return events, len(m.blocks)
}

// check reads data, the damaged bytes of m, and compares.
func (m *made) check(t *testing.T, data []byte, what string, broken func(i int) bool) {
	t.Helper()
	r, err := NewReader(bytes.NewReader(data), int64(len(data)), nil)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	got := readAll(t, r)
	want, _ := m.expect(broken)
	if !slices.Equal(got, want) {
		t.Fatalf("%s:\n got %v\nwant %v", what, got, want)
	}
}

// mutants are the segments that the tests below damage.
func mutants(t *testing.T) map[string]*made {
	build := func(seal bool, mark func(m *made, i int) int64) *made {
		m := newMade(t, testHeader(), 16)
		for i := range 9 {
			switch i {
			case 2, 6, 8:
				m.ledger(t, Ledger{Version: i}, mark(m, i))
			default:
				m.records(1+i%4, 20, mark(m, i))
			}
		}
		if seal {
			m.seal(t)
		}
		return m
	}
	at := func(m *made, i int) int64 { // where block i begins
		if i < 0 {
			return 0
		}
		return m.blocks[i].off
	}
	return map[string]*made{
		"sealed":        build(true, func(*made, int) int64 { return 0 }),
		"active":        build(false, func(m *made, i int) int64 { return at(m, i-3) }),
		"active synced": build(false, func(m *made, _ int) int64 { return int64(len(m.data)) }),
		"active late": build(false, func(m *made, i int) int64 { // one mark, in the last block but one
			if i == 7 {
				return at(m, 4)
			}
			return 0
		}),
		"active unsynced": build(false, func(*made, int) int64 { return 0 }),
	}
}

// TestHostile: a file made to waste its reader's time is refused.
func TestHostile(t *testing.T) {
	m := newMade(t, testHeader(), 16)
	size := len(m.data) + 8<<20
	for len(m.data) < size {
		b := make([]byte, BlockHeaderSize)
		Stamp(b, BlockHeader{Generation: m.header.Generation, Offset: int64(len(m.data)), First: 1000, Type: LedgerBlock})
		le.PutUint32(b[8:], uint32(size-len(m.data)))
		m.data = append(m.data, b...)
	}
	r := m.open(t, ReadOptions{})
	_, _, err := r.Next()
	if _, damage := err.(*DamageError); damage || !errors.Is(err, ErrCorrupt) {
		t.Errorf("Next: %v", err)
	}
	if r.f.wasted > 5*int64(size)+17*MaxBlock {
		t.Errorf("%d bytes were read for nothing", r.f.wasted)
	}
}

func none(int) bool { return false }

func TestMutations(t *testing.T) {
	for name, m := range mutants(t) {
		t.Run(name, func(t *testing.T) {
			m.check(t, m.data, "untouched", none)
			t.Run("flip", m.testFlip)
			t.Run("zero", m.testZero)
			t.Run("swap", m.testSwap)
			t.Run("double", m.testDouble)
			t.Run("foreign", m.testForeign)
			t.Run("truncate", m.testTruncate)
			t.Run("shift", m.testShift)
		})
	}
}

// testFlip flips each bit of every block's header, and one in every third byte after it.
func (m *made) testFlip(t *testing.T) {
	data := bytes.Clone(m.data)
	for i, b := range m.blocks {
		for at := b.off; at < Align(b.end); at++ {
			for bit := range 8 {
				if at >= b.off+BlockHeaderSize && (bit != int(at%8) || at%3 != 0) {
					continue
				}
				data[at] ^= 1 << bit
				m.check(t, data, fmt.Sprintf("bit %d of byte %d", bit, at), func(j int) bool { return i == j && at < b.end })
				data[at] ^= 1 << bit
			}
		}
	}
}

// testZero zeroes every run of blocks, and every pair.
func (m *made) testZero(t *testing.T) {
	for i := range m.blocks {
		for j := i; j < len(m.blocks); j++ {
			data := bytes.Clone(m.data)
			clear(data[m.blocks[i].off:m.blocks[j].end])
			m.check(t, data, fmt.Sprintf("blocks %d to %d", i, j), func(k int) bool { return i <= k && k <= j })
			copy(data, m.data)
			clear(data[m.blocks[i].off:m.blocks[i].end])
			clear(data[m.blocks[j].off:m.blocks[j].end])
			m.check(t, data, fmt.Sprintf("blocks %d and %d", i, j), func(k int) bool { return k == i || k == j })
		}
	}
}

// testSwap exchanges every two neighbours, and all blocks of the same size.
func (m *made) testSwap(t *testing.T) {
	for i, a := range m.blocks {
		for j := i + 1; j < len(m.blocks); j++ {
			b := m.blocks[j]
			sizeA, sizeB := Align(a.end)-a.off, Align(b.end)-b.off
			if j > i+1 && sizeA != sizeB {
				continue
			}
			data := slices.Concat(m.data[:a.off], m.data[b.off:b.off+sizeB], m.data[a.off+sizeA:b.off],
				m.data[a.off:a.off+sizeA], m.data[b.off+sizeB:])
			m.check(t, data, fmt.Sprintf("blocks %d and %d", i, j), func(k int) bool { return k == i || k == j })
		}
	}
}

// testDouble writes every block over every other one's place, as far as that goes.
func (m *made) testDouble(t *testing.T) {
	for i, a := range m.blocks {
		for j, b := range m.blocks {
			if i == j {
				continue
			}
			data := bytes.Clone(m.data)
			n := copy(data[b.off:], m.data[a.off:a.end])
			m.check(t, data, fmt.Sprintf("block %d over %d", i, j), func(k int) bool {
				return m.blocks[k].off < b.off+int64(n) && m.blocks[k].end > b.off &&
					!bytes.Equal(data[m.blocks[k].off:m.blocks[k].end], m.data[m.blocks[k].off:m.blocks[k].end])
			})
		}
	}
}

// testForeign puts blocks of another life of the file, with the same layout, in the place of some.
func (m *made) testForeign(t *testing.T) {
	for _, generation := range []uint64{
		m.header.Generation ^ 1,       // another tag
		m.header.Generation ^ 1<<63,   // the same tag
		m.header.Generation<<32 ^ 0x1, // nothing in common
	} {
		for mask := 1; mask < 1<<len(m.blocks); mask = mask*3 + 1 {
			broken := func(i int) bool { return mask>>i&1 != 0 }
			data := bytes.Clone(m.data)
			for i, b := range m.blocks {
				if broken(i) {
					h, n, _ := readBlockHeader(data[b.off:], b.off)
					h.Generation = generation
					Stamp(data[b.off:b.off+int64(n)], h)
				}
			}
			m.check(t, data, fmt.Sprintf("generation %x, blocks %b", generation, mask), broken)
		}
	}
}

// testTruncate cuts the file at every 16 bytes and beside them.
func (m *made) testTruncate(t *testing.T) {
	size := int64(len(m.data))
	for cut := int64(m.header.Len); cut < size; cut++ {
		if d := cut % 16; d > 1 && d < 15 {
			continue
		}
		broken := func(i int) bool { return m.blocks[i].end > cut }
		// Nothing is known: what was sealed looks torn.
		unsealed := *m
		unsealed.sealed = false
		unsealed.check(t, m.data[:cut], fmt.Sprint("cut at ", cut), broken)

		// The size is known: all that lacks is damage, and its end only if the number of records is known as well.
		for _, next := range []uint64{0, m.next} {
			var want []event
			for i, b := range m.blocks {
				for seq := b.first; seq < b.next && !broken(i); seq++ {
					want = append(want, event{seq: seq})
				}
			}
			i := slices.IndexFunc(m.blocks, func(b madeBlock) bool { return b.end > cut })
			d := DamageError{First: m.next, Last: m.next - 1, Offset: size - TrailerSize, End: size}
			if i >= 0 {
				d.First, d.Last, d.Offset = m.blocks[i].first, Unbounded, m.blocks[i].off
			}
			if i >= 0 && next != 0 {
				d.Last = next - 1
			}
			if i >= 0 || m.sealed { // otherwise only padding is missing
				want = append(want, event{damage: d})
			}
			r, err := NewReader(bytes.NewReader(m.data), cut, &ReadOptions{Durable: size, Next: next})
			if err != nil {
				t.Fatal(err)
			}
			if got := readAll(t, r); !slices.Equal(got, want) {
				t.Fatalf("cut at %d, next %d:\n got %v\nwant %v", cut, next, got, want)
			}
		}
	}
}

// testShift inserts a copy of each block after itself: everything after it is at a wrong offset.
func (m *made) testShift(t *testing.T) {
	for i, b := range m.blocks {
		data := slices.Concat(m.data[:Align(b.end)], m.data[b.off:Align(b.end)], m.data[Align(b.end):])
		r, err := NewReader(bytes.NewReader(data), int64(len(data)), nil)
		if err != nil {
			t.Fatal(err)
		}
		var want []event
		for _, b := range m.blocks[:i+1] {
			for seq := b.first; seq < b.next; seq++ {
				want = append(want, event{seq: seq})
			}
		}
		got := readAll(t, r)
		if m.sealed && i < len(m.blocks)-1 { // nothing after the footer itself is read
			d := DamageError{First: b.next, Last: Unbounded, Offset: Align(b.end), End: int64(len(data))}
			if m.blocks[i+1].typ == FooterBlock {
				d.Last = b.next - 1
			}
			want = append(want, event{damage: d})
		} else if m.sealed {
			d := DamageError{First: b.next, Last: b.next - 1, Offset: Align(b.end), End: int64(len(data))}
			want = append(want, event{damage: d})
		}
		if !slices.Equal(got, want) {
			t.Fatalf("block %d:\n got %v\nwant %v", i, got, want)
		}
	}
}
