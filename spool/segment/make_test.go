package segment

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"testing"
	"time"
)

// made is a segment in memory, with a note of every block.
type made struct {
	data   []byte
	header *Header
	blocks []madeBlock // footer included
	b      *Builder
	next   uint64
	bytes  map[uint64]uint64 // payload length by sequence number
	sealed bool
	plain  bool // records have no attributes
	table  AttrTable
}

type madeBlock struct {
	off, end    int64 // end without padding
	first, next uint64
	mark        int64
	typ         Type
}

func testHeader() *Header {
	return &Header{
		Generation: 0x1122334455667788, Segment: 7, First: 1000,
		Created: time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC),
		Spool:   "0123456789abcdefghijklmnop", Epoch: 3, Class: "vpn_1", Instance: "i-0abc",
		Ledger: testLedger(),
	}
}

func testLedger() Ledger {
	l := Ledger{
		Version: 1, Time: time.Date(2026, 3, 4, 5, 6, 0, 0, time.UTC),
		Received: Tally{1015, 51030}, Made: Tally{7, 70}, Kept: Tally{999, 49950}, Filtered: Tally{12, 600}, Damaged: Tally{1, 10},
		Sockets:      map[uint64]uint64{1 << 60: 4, 9: 1},
		Destinations: map[string]Delivery{"idc": {Tally: Tally{900, 45000}, Through: 900}},
	}
	l.Lost[KernelOverflow] = Loss{Records: 4, BytesUnknown: true, AtLeast: true}
	l.Lost[Malformed] = Loss{Records: 2, Bytes: 20}
	return l
}

func newMade(tb testing.TB, h *Header, pad int) *made {
	tb.Helper()
	head, err := EncodeHeader(h, pad)
	if err != nil {
		tb.Fatal(err)
	}
	b, err := NewBuilder(head)
	if err != nil {
		tb.Fatal(err)
	}
	return &made{data: head, header: h, b: b, next: h.First, bytes: map[uint64]uint64{}}
}

// payload is a record's contents, which tell its sequence number.
func payload(seq uint64, n int) []byte {
	p := bytes.Repeat([]byte{byte(seq)}, max(n, 8))
	binary.BigEndian.PutUint64(p, seq)
	return p
}

// testAttrs are the attributes of a record: none, and two sets in turn.
func testAttrs(seq uint64) *Attrs {
	switch seq % 8 {
	case 2, 3, 4, 6:
		return attrsA
	case 5:
		return attrsB
	}
	return nil
}

var (
	attrsA = mustAttrs(map[string]string{"listener": "vpn-1", "tls.server_name": "in.example.net"})
	attrsB = mustAttrs(map[string]string{"aws.vpce": "vpce-0abc", "empty": "", "text": `"schön" \ <&>`})
)

func mustAttrs(pairs map[string]string) *Attrs {
	a, err := NewAttrs(pairs)
	if err != nil {
		panic(err)
	}
	return a
}

func testRecord(seq uint64, n int) Record {
	r := Record{Time: 1_700_000_000_000_000_000 + int64(seq), Data: payload(seq, n), Attrs: testAttrs(seq)}
	switch seq % 3 {
	case 0:
		r.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(seq)}), uint16(seq))
	case 1:
		r.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte{0x20, 1, 0xd, 0xb8, 15: byte(seq)}), uint16(seq))
	}
	return r
}

func (m *made) add(typ Type, count int, durable int64, payload []byte) {
	off := int64(len(m.data))
	block := append(make([]byte, BlockHeaderSize), payload...)
	Stamp(block, BlockHeader{
		Generation: m.header.Generation, Offset: off, First: m.next, Count: uint32(count), Durable: uint32(durable), Type: typ,
	})
	m.b.Add(off, block)
	m.blocks = append(m.blocks, madeBlock{off, off + int64(len(block)), m.next, m.next + uint64(count), durable, typ})
	m.next += uint64(count)
	m.data = append(m.data, block...)
	m.data = append(m.data, make([]byte, Align(len(m.data))-len(m.data))...)
}

// records adds a block of count records of about n bytes each.
func (m *made) records(count, n int, durable int64) {
	var p []byte
	m.table.Reset()
	for i := range count {
		r := testRecord(m.next+uint64(i), n+i)
		if m.plain {
			r.Attrs = nil
		}
		p = m.table.AppendRecord(p, &r)
		m.bytes[m.next+uint64(i)] = uint64(len(r.Data))
	}
	m.add(RecordBlock, count, durable, p)
}

func (m *made) ledger(tb testing.TB, l Ledger, durable int64) {
	js, err := json.Marshal(l)
	if err != nil {
		tb.Fatal(err)
	}
	m.add(LedgerBlock, 0, durable, js)
}

func (m *made) seal(tb testing.TB) {
	off := int64(len(m.data))
	l := testLedger()
	end, err := m.b.Seal(off, &l)
	if err != nil {
		tb.Fatal(err)
	}
	m.blocks = append(m.blocks, madeBlock{off, off + int64(le.Uint32(end[8:])), m.next, m.next, off, FooterBlock})
	m.data = append(m.data, end...)
	m.sealed = true
}

func (m *made) open(tb testing.TB, o ReadOptions) *Reader {
	tb.Helper()
	r, err := NewReader(bytes.NewReader(m.data), int64(len(m.data)), &o)
	if err != nil {
		tb.Fatal(err)
	}
	return r
}
