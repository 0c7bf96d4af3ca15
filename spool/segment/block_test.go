package segment

import (
	"bytes"
	"fmt"
	"math"
	"net/netip"
	"strings"
	"testing"
)

func TestRecordRoundTrip(t *testing.T) {
	for _, tc := range []struct{ src, want string }{
		{"", ""},
		{"192.0.2.1:514", "192.0.2.1:514"},
		{"[::ffff:192.0.2.1]:514", "192.0.2.1:514"},
		{"[2001:db8::1]:65535", "[2001:db8::1]:65535"},
		{"[fe80::1%eth0]:1", "[fe80::1]:1"},
		{"0.0.0.0:0", "0.0.0.0:0"},
	} {
		var src, want netip.AddrPort
		if tc.src != "" {
			src, want = netip.MustParseAddrPort(tc.src), netip.MustParseAddrPort(tc.want)
		}
		for _, n := range []int{0, 1, 1400, MaxRecord} {
			if n == MaxRecord && tc.src != "" {
				break
			}
			for _, at := range []int64{0, -1, math.MaxInt64, math.MinInt64} {
				r := Record{Time: at, Src: src, Data: payload(uint64(at), n)[:n]}
				b := AppendRecord([]byte("before"), &r)[6:]
				if len(b) != r.Size() || len(b) != RecordSize(n, src) {
					t.Fatalf("%s: %d bytes, Size %d", tc.src, len(b), r.Size())
				}
				size, length, ok := recordLen(b)
				var got Record
				rest := takeRecord(append(b, "behind"...), &got)
				if !ok || size != len(b) || length != n || string(rest) != "behind" ||
					got.Time != at || got.Src != want || !bytes.Equal(got.Data, r.Data) {
					t.Fatalf("%s: %v %v, rest %q", tc.src, got.Time, got.Src, rest)
				}
				if _, _, ok := recordLen(b[:len(b)-1]); ok {
					t.Fatalf("%s: a cut record was accepted", tc.src)
				}
				_ = append(got.Data, 'x')
				if string(rest) != "behind" {
					t.Fatal("appending to a payload overwrites what follows")
				}
				if n == MaxRecord {
					break
				}
			}
		}
	}
}

// panics returns the value with which f panics.
func panics(f func()) (msg string) {
	defer func() { msg = fmt.Sprint(recover()) }()
	f()
	return ""
}

func TestAppendRecordPanics(t *testing.T) {
	if msg := panics(func() { AppendRecord(nil, &Record{Data: make([]byte, MaxRecord+1)}) }); !strings.Contains(msg, "exceeds") {
		t.Errorf("panic %q", msg)
	}
}

func TestStampPanics(t *testing.T) {
	good := BlockHeader{Generation: 1, Offset: 4096, First: 1, Count: 1, Durable: 4096, Type: RecordBlock}
	block := AppendRecord(make([]byte, BlockHeaderSize), &Record{})
	if msg := panics(func() { Stamp(block, good) }); msg != "<nil>" {
		t.Fatalf("panic %q", msg)
	}
	for want, change := range map[string]func(h *BlockHeader){
		"offset":                func(h *BlockHeader) { h.Offset++ },
		"offset ":               func(h *BlockHeader) { h.Offset = MaxSize },
		"offset  ":              func(h *BlockHeader) { h.Offset = -16 },
		"durable mark":          func(h *BlockHeader) { h.Durable++ },
		"first sequence number": func(h *BlockHeader) { h.First = 0 },
		"first sequence number ": func(h *BlockHeader) {
			h.First = math.MaxUint64
		},
		"type":    func(h *BlockHeader) { h.Type = 0 },
		"type ":   func(h *BlockHeader) { h.Type = 4 },
		"count":   func(h *BlockHeader) { h.Count = 0 },
		"count ":  func(h *BlockHeader) { h.Count = 2 },
		"count  ": func(h *BlockHeader) { h.Type = LedgerBlock },
	} {
		h := good
		change(&h)
		if msg := panics(func() { Stamp(block, h) }); !strings.Contains(msg, "impossible "+strings.TrimSpace(want)) {
			t.Errorf("%s: panic %q", want, msg)
		}
	}
	if msg := panics(func() { Stamp(make([]byte, MaxBlock+1), good) }); !strings.Contains(msg, "length") {
		t.Errorf("panic %q", msg)
	}
}

// TestStampAgain: the same payload may be stamped for another place.
func TestStampAgain(t *testing.T) {
	m, other := newMade(t, testHeader(), 16), newMade(t, testHeader(), 4096)
	m.records(3, 50, 0)
	other.records(3, 50, 0)
	b := m.blocks[0]
	block := bytes.Clone(m.data[b.off:b.end])
	h, _, _ := readBlockHeader(block, other.blocks[0].off)
	h.Generation = other.header.Generation
	Stamp(block, h)
	if !bytes.Equal(block, other.data[other.blocks[0].off:other.blocks[0].end]) {
		t.Error("the block differs from one made for that place")
	}
}

// TestMalformed: blocks whose checksum holds and whose payload makes no sense are damage.
func TestMalformed(t *testing.T) {
	for what, p := range map[string][]byte{
		"too long":      {255, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
		"unknown kind":  {0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0},
		"no source":     {0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0},
		"bytes behind":  {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1},
		"record behind": make([]byte, 24),
	} {
		m := newMade(t, testHeader(), 16)
		m.records(1, 10, 0)
		off := int64(len(m.data))
		block := append(make([]byte, BlockHeaderSize), p...)
		Stamp(block, BlockHeader{Generation: m.header.Generation, Offset: off, First: m.next, Count: 1, Type: RecordBlock})
		m.blocks = append(m.blocks, madeBlock{off: off, end: off + int64(len(block)), first: m.next, next: m.next + 1, typ: RecordBlock})
		m.next++
		m.data = append(m.data, append(block, make([]byte, Align(len(block))-len(block))...)...)
		m.records(1, 10, int64(len(m.data)))
		m.check(t, m.data, what, func(i int) bool { return i == 1 })
	}
}

// TestHole: sequence numbers that a valid block leaves out, directly after another block, are lost.
func TestHole(t *testing.T) {
	m := newMade(t, testHeader(), 16)
	m.records(1, 10, 0)
	m.next += 5
	m.records(1, 10, 0)
	got := readAll(t, m.open(t, ReadOptions{}))
	off := m.blocks[1].off
	want := []event{{seq: 1000}, {damage: DamageError{First: 1001, Last: 1005, Offset: off, End: off}}, {seq: 1006}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

// TestAllocations: nothing is allocated for a record or a block, written or read.
func TestAllocations(t *testing.T) {
	m := newMade(t, testHeader(), 4096)
	for range 100 {
		m.records(50, 512, 0)
	}
	m.seal(t)
	buf := make([]byte, BlockTarget)
	r := testRecord(1, 512)
	if n := testing.AllocsPerRun(50, func() {
		block := AppendRecord(buf[:BlockHeaderSize], &r)
		Stamp(block, BlockHeader{Generation: 7, Offset: 4096, First: 1, Count: 1, Type: RecordBlock})
		m.b.Add(4096, block)
	}); n != 0 {
		t.Errorf("writing a block allocates %v times", n)
	}
	rd := m.open(t, ReadOptions{})
	_, _, _ = rd.Next()
	if n := testing.AllocsPerRun(4900, func() {
		if _, _, err := rd.Next(); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("reading a record allocates %v times", n)
	}
}
