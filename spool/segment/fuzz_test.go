package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/netip"
	"reflect"
	"testing"
)

// fuzzSeeds are small segments of every kind.
func fuzzSeeds(f *testing.F) (seeds [][]byte) {
	for _, seal := range []bool{false, true} {
		m := newMade(f, testHeader(), 16)
		m.records(2, 10, 0)
		m.ledger(f, Ledger{}, int64(len(m.data)))
		m.records(1, 10, int64(len(m.data)))
		if seal {
			m.seal(f)
		}
		seeds = append(seeds, m.data)
	}
	return seeds
}

// mend makes checksums of a mutated segment right again, so that the fuzzer gets behind them; which says what to mend.
func mend(data []byte, which byte) {
	if which&1 != 0 && len(data) >= headerFixed {
		n := int(le.Uint32(data[12:]))
		if n >= 20 && n <= MaxHeader {
			reseal(data)
		}
	}
	if len(data) < headerFixed {
		return
	}
	generation := le.Uint64(data[24:])
	if n := len(data) - TrailerSize; which&4 != 0 && n > 0 {
		off := int64(le.Uint64(data[n:]))
		appendTrailer(data[:n], generation, off)
	}
	for off := 0; which&2 != 0 && off+BlockHeaderSize <= len(data); off += alignment {
		n := int64(le.Uint32(data[off+8:]))
		if le.Uint32(data[off:]) != uint32(generation) || n < BlockHeaderSize || n > int64(len(data)-off) {
			continue
		}
		block := data[off : off+int(n)]
		sum := checksum(block, generation, int64(off))
		le.PutUint32(block, uint32(generation))
		le.PutUint32(block[4:], sum)
	}
}

// FuzzReader reads any bytes, in every way, and checks what a Reader promises about any of them.
func FuzzReader(f *testing.F) {
	header := testHeaderLen(f)
	for _, s := range fuzzSeeds(f) {
		for which := range byte(8) {
			f.Add(s, which, uint64(0), int64(0), int64(0))
			f.Add(s, which, uint64(1002), int64(len(s)), int64(len(s)-40))
			f.Add(s[header:], which|32, uint64(1002), int64(0), int64(0))
		}
	}
	prefix := fuzzSeeds(f)[0][:header]
	f.Fuzz(func(t *testing.T, data []byte, which byte, seq uint64, durable, end int64) {
		if which&32 != 0 { // with a header that no mutation hits
			data = append(prefix[:header:header], data...)
		} else {
			data = bytes.Clone(data)
		}
		mend(data, which)
		o := ReadOptions{Durable: durable, End: end, SkipUnreadable: which&8 != 0}
		if which&16 != 0 {
			o.Next = seq + 1
		}
		r, err := NewReader(bytes.NewReader(data), int64(len(data)), &o)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("neither damaged nor newer: %v", err)
			}
			return
		}
		whole := drainReader(t, r, len(data), 0)
		if err := r.Seek(seq); err != nil {
			t.Fatal(err)
		}
		if _, sealed := r.Footer(); sealed {
			drainReader(t, r, len(data), seq) // the index may lie
		} else if got, want := drainReader(t, r, len(data), seq), above(whole, seq); !reflect.DeepEqual(got, want) {
			t.Fatalf("after Seek(%d): %v\nwant %v", seq, got, want)
		}
		_, _ = Scan(bytes.NewReader(data), int64(len(data)), &o)
		_ = Verify(bytes.NewReader(data), int64(len(data)))
	})
}

func above(all []uint64, seq uint64) (part []uint64) {
	for _, s := range all {
		if s >= seq {
			part = append(part, s)
		}
	}
	return part
}

// drainReader reads to the end: sequence numbers ascend, damage ends before the next record, and there is an end.
func drainReader(t *testing.T, r *Reader, size int, from uint64) (seqs []uint64) {
	next := from
	for range size + 10 {
		seq, rec, err := r.Next()
		var d *DamageError
		switch {
		case err == io.EOF:
			return seqs
		case errors.As(err, &d):
			if d.First < next || d.Last < d.First-1 || d.End < d.Offset {
				t.Fatalf("%+v behind %d", d, next)
			}
			if next = d.Last + 1; d.Last == Unbounded {
				next = d.Last
			}
		case err != nil:
			t.Fatal(err)
		default:
			if seq < next || len(rec.Data) > size {
				t.Fatalf("record %d of %d bytes behind %d", seq, len(rec.Data), next)
			}
			seqs = append(seqs, seq)
			next = seq + 1
		}
	}
	t.Fatal("no end")
	return nil
}

// FuzzHeader: a decoded header is encoded to the same header again.
func FuzzHeader(f *testing.F) {
	for _, s := range fuzzSeeds(f) {
		f.Add(s[:testHeaderLen(f)], true)
	}
	f.Fuzz(func(t *testing.T, data []byte, mended bool) {
		if mended {
			data = bytes.Clone(data)
			mend(data, 1)
		}
		h, err := DecodeHeader(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrVersion) {
				t.Fatalf("neither damaged nor newer: %v", err)
			}
			return
		}
		again := *h
		b, err := EncodeHeader(&again, 0)
		if err != nil {
			t.Skip(err) // a year that JSON cannot write, a ledger that has grown in being written again
		}
		back, err := DecodeHeader(b)
		if err != nil {
			t.Fatal(err)
		}
		back.Len = h.Len
		if !sameJSON(t, back, h) {
			t.Fatalf("%+v\nwant %+v", back, h)
		}
	})
}

func testHeaderLen(f *testing.F) int {
	h := testHeader()
	if _, err := EncodeHeader(h, 16); err != nil {
		f.Fatal(err)
	}
	return h.Len
}

// sameJSON compares by JSON, in which times with the same instant and offset are the same.
func sameJSON(t *testing.T, a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	if errX != nil || errY != nil {
		t.Fatal(errX, errY)
	}
	return bytes.Equal(x, y)
}

// FuzzFooter: a decoded footer is encoded to the same footer again.
func FuzzFooter(f *testing.F) {
	m := goldenMade(f, true)
	b := m.blocks[len(m.blocks)-1]
	f.Add(m.data[b.off+BlockHeaderSize : b.end])
	f.Fuzz(func(t *testing.T, data []byte) {
		footer, err := DecodeFooter(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatal(err)
			}
			return
		}
		b, err := footer.Encode()
		if err != nil {
			t.Skip(err)
		}
		back, err := DecodeFooter(b)
		if err != nil || !sameJSON(t, back, footer) {
			t.Fatalf("%+v, %v\nwant %+v", back, err, footer)
		}
	})
}

// FuzzRoundTrip writes records made of the input, in blocks of its choosing, and reads them back.
func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("\x05hello\x80\x10and a longer one"), uint8(3), true)
	f.Fuzz(func(t *testing.T, data []byte, per uint8, seal bool) {
		m := newMade(t, testHeader(), 16)
		var want []Record
		var block []byte
		var count int
		flush := func() {
			if count > 0 {
				m.add(RecordBlock, count, int64(len(m.data)), block)
			}
			block, count = nil, 0
		}
		for len(data) > 10 {
			n := min(int(data[0]), len(data)-10)
			r := Record{Time: int64(binary.LittleEndian.Uint64(data[1:])), Data: data[10 : 10+n]}
			switch data[9] % 4 {
			case 1:
				r.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(data[1:])), uint16(data[9]))
			case 2:
				r.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, data[1], 15: data[2]}), uint16(data[3]))
			}
			block = AppendRecord(block, &r)
			want = append(want, r)
			if count++; count > int(per) {
				flush()
			}
			data = data[10+n:]
		}
		flush()
		if seal {
			m.seal(t)
		}
		r := m.open(t, ReadOptions{})
		for i, w := range want {
			seq, got, err := r.Next()
			if err != nil || seq != 1000+uint64(i) || got.Time != w.Time || got.Src != w.Src || !bytes.Equal(got.Data, w.Data) {
				t.Fatalf("record %d: %d %v, %v; want %v", i, seq, got, err, w)
			}
		}
		if _, _, err := r.Next(); err != io.EOF {
			t.Fatal(err)
		}
		if err := Verify(bytes.NewReader(m.data), int64(len(m.data))); (err == nil) != seal {
			t.Fatal(err)
		}
	})
}
