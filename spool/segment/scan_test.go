package segment

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"testing"
	"testing/iotest"
)

func scan(t *testing.T, data []byte, o ReadOptions) *ScanResult {
	t.Helper()
	res, err := Scan(bytes.NewReader(data), int64(len(data)), &o)
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// TestScan breaks every set of blocks of an active segment and compares the result with the writer's data.
func TestScan(t *testing.T) {
	for name, m := range mutants(t) {
		if m.sealed {
			continue
		}
		for mask := range 1 << len(m.blocks) {
			broken := func(i int) bool { return mask>>i&1 != 0 }
			data := bytes.Clone(m.data)
			for i, b := range m.blocks {
				if broken(i) {
					data[b.off+9+int64(i)] ^= 0x80
				}
			}
			events, torn := m.expect(broken)
			res := scan(t, data, ReadOptions{})

			want := Footer{First: 1000, Next: 1000}
			var damage []*DamageError
			for _, e := range events {
				if e.seq == 0 {
					damage = append(damage, &e.damage)
					continue
				}
				want.Records++
				want.Bytes += m.bytes[e.seq]
			}
			end, durable, ledger := int64(m.header.Len), int64(0), &m.header.Ledger
			for i, b := range m.blocks {
				if broken(i) {
					continue
				}
				if durable = max(durable, b.mark); i >= torn {
					continue
				}
				end, want.Next = Align(b.end), b.next
				if b.typ == LedgerBlock {
					ledger = &Ledger{Version: i}
				}
			}
			got := res.Builder.Footer()
			if res.End != end || res.Durable != durable || res.Next != want.Next || !reflect.DeepEqual(res.Damage, damage) ||
				got.Records != want.Records || got.Bytes != want.Bytes || got.Next != want.Next || got.First != want.First {
				t.Fatalf("%s, blocks %b: end %d next %d damage %v footer %+v\nwant end %d next %d damage %v footer %+v",
					name, mask, res.End, res.Next, res.Damage, got, end, want.Next, damage, want)
			}
			if !reflect.DeepEqual(res.Ledger, ledger) {
				t.Fatalf("%s, blocks %b: ledger %+v, want %+v", name, mask, res.Ledger, ledger)
			}
			if mask%3 == 0 {
				sealAndRead(t, data, res, events)
			}
		}
	}
}

// sealAndRead seals what Scan found, and expects the same records and the same damage from it.
func sealAndRead(t *testing.T, data []byte, res *ScanResult, want []event) {
	t.Helper()
	end, err := res.Builder.Seal(res.End, res.Ledger)
	if err != nil {
		t.Fatal(err)
	}
	data = append(data[:res.End:res.End], end...)
	r, err := NewReader(bytes.NewReader(data), int64(len(data)), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, ok := r.Footer(); !ok {
		t.Fatal("no footer")
	}
	if got := readAll(t, r); !slices.Equal(got, want) {
		t.Fatalf("sealed:\n got %v\nwant %v", got, want)
	}
	err = Verify(bytes.NewReader(data), int64(len(data)))
	if (err == nil) != (len(res.Damage) == 0) {
		t.Fatalf("Verify: %v, damage %v", err, res.Damage)
	}
}

// TestScanGoesOn: Scan returns the state that the writer had, so a segment written in two lives is the same as
// one written in one.
func TestScanGoesOn(t *testing.T) {
	whole := newMade(t, testHeader(), 4096)
	for range 50 {
		whole.records(9, 500, 0)
	}
	half := newMade(t, testHeader(), 4096)
	for range 25 {
		half.records(9, 500, 0)
	}
	end := len(half.data)
	// The torn tail: a block without its middle, and behind it one that reached the disk.
	half.records(9, 500, 0)
	clear(half.data[end+100 : end+200])
	half.records(9, 500, 0)
	half.data = append(half.data, make([]byte, 100_000)...)

	res := scan(t, half.data, ReadOptions{})
	if res.End != int64(end) || len(res.Damage) != 0 || res.Footer != nil {
		t.Fatalf("end %d, want %d; damage %v", res.End, end, res.Damage)
	}
	half.data, half.b, half.next = half.data[:end], res.Builder, res.Next
	for range 25 {
		half.records(9, 500, 0)
	}
	whole.seal(t)
	half.seal(t)
	if !bytes.Equal(whole.data, half.data) {
		t.Error("the segments differ")
	}
	if err := Verify(bytes.NewReader(half.data), int64(len(half.data))); err != nil {
		t.Error(err)
	}
}

// TestScanCutSeal: a seal that a crash cut short leaves an active segment, wherever it was cut.
func TestScanCutSeal(t *testing.T) {
	m := mutants(t)["sealed"]
	footer := m.blocks[len(m.blocks)-1].off
	for cut := footer; cut <= int64(len(m.data)); cut += 5 {
		for _, rest := range []int{0, 5000} { // the file was truncated before, or not yet
			data := append(bytes.Clone(m.data[:cut]), make([]byte, rest)...)
			if cut == int64(len(m.data)) && rest == 0 {
				continue
			}
			res := scan(t, data, ReadOptions{})
			if res.Footer != nil || res.End != footer || res.Next != m.next || len(res.Damage) > 0 {
				t.Fatalf("cut at %d: end %d, want %d; next %d; damage %v", cut, res.End, footer, res.Next, res.Damage)
			}
			end, err := res.Builder.Seal(res.End, res.Ledger)
			if err != nil {
				t.Fatal(err)
			}
			again := append(data[:res.End:res.End], end...)
			if err := Verify(bytes.NewReader(again), int64(len(again))); err != nil {
				t.Fatal(err)
			}
		}
	}
	if res := scan(t, m.data, ReadOptions{}); res.Footer == nil || res.End != footer {
		t.Errorf("sealed: %+v", res)
	}
}

// TestVerify: a segment whose blocks are all valid, but not those that were sealed.
func TestVerify(t *testing.T) {
	m := mutants(t)["sealed"]
	if err := Verify(bytes.NewReader(m.data), int64(len(m.data))); err != nil {
		t.Error(err)
	}
	data := bytes.Clone(m.data)
	b := m.blocks[3]
	h, n, _ := readBlockHeader(data[b.off:], b.off)
	h.Generation = m.header.Generation
	data[b.off+int64(n)-1] ^= 1
	Stamp(data[b.off:b.off+int64(n)], h)
	if err := Verify(bytes.NewReader(data), int64(len(data))); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an altered block: %v", err)
	}
	if err := Verify(bytes.NewReader(data[:b.end]), b.end); !errors.Is(err, ErrCorrupt) {
		t.Errorf("an active segment: %v", err)
	}
}

func TestScanReadError(t *testing.T) {
	m := mutants(t)["active"]
	c := &counter{ReaderAt: bytes.NewReader(m.data), fail: func(off int64, _ int) error {
		if off > 0 {
			return iotest.ErrTimeout
		}
		return nil
	}}
	if _, err := Scan(c, int64(len(m.data)+1), nil); !errors.Is(err, iotest.ErrTimeout) {
		t.Errorf("a failed read: %v", err)
	}
	if _, err := Scan(bytes.NewReader(m.data), int64(len(m.data)+100), nil); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a file that is shorter than said: %v", err)
	}
	for size := range int64(3) {
		if _, err := Scan(bytes.NewReader(make([]byte, 5)), size-1, nil); !errors.Is(err, ErrCorrupt) {
			t.Errorf("an empty file: %v", err)
		}
	}
}

// TestScanNext: blocks that were written again to the next segment are not counted here.
func TestScanNext(t *testing.T) {
	m := mutants(t)["active unsynced"]
	for i, b := range m.blocks {
		if b.typ != RecordBlock {
			continue
		}
		res := scan(t, m.data, ReadOptions{Next: b.first})
		f := res.Builder.Footer()
		if res.End != b.off || res.Next != b.first || f.Next != b.first || len(res.Damage) > 0 {
			t.Errorf("block %d at %d: end %d next %d damage %v", i, b.off, res.End, res.Next, res.Damage)
		}
	}
}
