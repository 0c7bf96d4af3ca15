package segment

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"flag"
	"hash/crc32"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files again")

// goldenMade makes what the golden files hold: a bit of everything.
func goldenMade(tb testing.TB, seal bool) *made {
	m := newMade(tb, testHeader(), 512)
	m.records(3, 40, int64(len(m.data)))
	m.ledger(tb, testLedger(), int64(len(m.data)))
	m.records(1, 70_000, int64(m.header.Len))
	m.records(4, 0, int64(len(m.data)))
	if seal {
		m.seal(tb)
	}
	return m
}

// TestGolden compares what is written today with the golden files byte by byte, and decodes these with a decoder of its
// own, written after FORMAT.md with nothing from this package.
func TestGolden(t *testing.T) {
	for _, name := range []string{"sealed", "active"} {
		t.Run(name, func(t *testing.T) {
			m := goldenMade(t, name == "sealed")
			path := filepath.Join("testdata", name+"-v2.seg")
			if *update {
				if err := os.WriteFile(path, m.data, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(data, m.data) {
				t.Error("what is written differs from the golden file: a new format needs a new version")
			}
			d := &byteDecoder{t: t, data: data}
			d.segment(m.sealed)
			if d.pos != len(data) {
				t.Errorf("%d bytes were not decoded", len(data)-d.pos)
			}
			if d.seq != m.next {
				t.Errorf("%d records, want %d", d.seq-1000, m.next-1000)
			}
			m.check(t, data, "reader", none)
		})
	}
}

// byteDecoder decodes a segment field by field and fails on every byte it does not expect.
type byteDecoder struct {
	t          *testing.T
	data       []byte
	pos        int
	generation uint64
	seq        uint64
	records    uint64
	bytes      uint64
	heads      []byte // headers of the blocks
	offsets    []int
}

func (d *byteDecoder) take(n int) []byte {
	d.t.Helper()
	if d.pos+n > len(d.data) {
		d.t.Fatalf("%d bytes at %d: behind the end", n, d.pos)
	}
	d.pos += n
	return d.data[d.pos-n : d.pos]
}

func (d *byteDecoder) u16() int { d.t.Helper(); return int(binary.LittleEndian.Uint16(d.take(2))) }

func (d *byteDecoder) u32() int    { d.t.Helper(); return int(binary.LittleEndian.Uint32(d.take(4))) }
func (d *byteDecoder) u64() uint64 { d.t.Helper(); return binary.LittleEndian.Uint64(d.take(8)) }

func (d *byteDecoder) want(what string, got, want any) {
	d.t.Helper()
	if !reflect.DeepEqual(got, want) {
		d.t.Errorf("%s before byte %d is %v, want %v", what, d.pos, got, want)
	}
}

func (d *byteDecoder) zeros(n int) {
	d.t.Helper()
	d.want("padding", d.take(n), make([]byte, n))
}

func (d *byteDecoder) ledger(n int) {
	d.t.Helper()
	var l Ledger
	if err := json.Unmarshal(d.take(n), &l); err != nil {
		d.t.Error(err)
	}
	d.want("ledger", l, testLedger())
}

func (d *byteDecoder) segment(sealed bool) {
	head := d.header()
	for d.pos < len(d.data) {
		if footer := d.pos; d.block(head) == 3 {
			d.want("footer in an active segment", sealed, true)
			d.trailer(footer)
			return
		}
	}
	d.want("no footer", sealed, false)
}

func sum(parts ...[]byte) int {
	return int(crc32.Checksum(bytes.Join(parts, nil), crc32.MakeTable(crc32.Castagnoli)))
}

// header decodes the header and returns it without its padding.
func (d *byteDecoder) header() []byte {
	d.want("magic", string(d.take(8)), "PNSTKSEG")
	d.want("version", d.u16(), 2)
	d.zeros(2)
	length := d.u32()
	d.want("header length", length, 1024)
	d.want("checksum", d.u32(), sum(d.data[:16], d.data[20:length]))
	js := d.u32()
	d.generation = d.u64()
	d.want("generation", d.generation, uint64(0x1122334455667788))
	d.want("segment", d.u64(), uint64(7))
	d.seq = d.u64()
	d.want("first", d.seq, uint64(1000))
	d.want("created", int64(d.u64()), time.Date(2026, 3, 4, 5, 6, 7, 89, time.UTC).UnixNano())
	d.want("spool", string(d.take(26)), "0123456789abcdefghijklmnop")
	d.zeros(2)
	d.want("epoch", d.u32(), 3)
	d.want("class length", int(d.take(1)[0]), 5)
	d.want("class", string(d.take(5)), "vpn_1")
	d.zeros(32 - 5 + 7)
	var j struct {
		Instance string
		Ledger   Ledger
	}
	if err := json.Unmarshal(d.take(js), &j); err != nil {
		d.t.Error(err)
	}
	d.want("instance", j.Instance, "i-0abc")
	d.want("ledger", j.Ledger, testLedger())
	head := d.data[:d.pos]
	d.zeros(length - d.pos)
	return head
}

func (d *byteDecoder) block(head []byte) (typ byte) {
	off := d.pos
	d.want("tag", d.u32(), int(d.generation&0xffffffff))
	crc, length, count, first, durable := d.u32(), d.u32(), d.u32(), d.u64(), d.u32()
	typ = d.take(1)[0]
	d.zeros(3)
	place := binary.LittleEndian.AppendUint64(nil, d.generation)
	place = binary.LittleEndian.AppendUint64(place, uint64(off))
	d.want("checksum", crc, sum(place, d.data[off+8:off+length]))
	d.want("first", first, d.seq)
	if durable > off {
		d.t.Errorf("block at %d has mark %d", off, durable)
	}
	switch typ {
	case 1:
		var sets []*Attrs
		var current *Attrs
		for range count {
			d.record(&sets, &current)
		}
	case 2:
		d.want("count", count, 0)
		d.ledger(off + length - d.pos)
	case 3:
		d.want("count", count, 0)
		d.want("mark", durable, off)
		d.footer(head)
	default:
		d.t.Errorf("type %d", typ)
	}
	d.want("end of block", d.pos, off+length)
	d.zeros((16 - d.pos%16) % 16)
	d.heads = append(d.heads, d.data[off:off+32]...)
	d.offsets = append(d.offsets, off)
	return typ
}

// attrs decodes an item, if there is one, and returns the head of the record after it.
func (d *byteDecoder) attrs(sets *[]*Attrs, current **Attrs) (head int) {
	head = d.u32()
	switch head >> 24 {
	case 0x20:
		pairs := map[string]string{}
		for end := d.pos + head&0xffffff; d.pos < end; {
			k, v := int(d.take(1)[0]), d.u16()
			key := string(d.take(k))
			pairs[key] = string(d.take(v))
		}
		*current = mustAttrs(pairs)
		*sets = append(*sets, *current)
	case 0x21:
		*current = (*sets)[head&0xffffff]
	default:
		return head
	}
	return d.u32()
}

func (d *byteDecoder) record(sets *[]*Attrs, current **Attrs) {
	head := d.attrs(sets, current)
	length, kind := head&0xffffff, head>>24
	got := Record{Time: int64(d.u64())}
	if kind&0x10 != 0 {
		got.Attrs, kind = *current, kind&^0x10
	}
	switch kind {
	case 4:
		got.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(d.take(4))), uint16(d.u16()))
	case 6:
		got.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(d.take(16))), uint16(d.u16()))
	default:
		d.want("kind", kind, 0)
	}
	got.Data = d.take(length)
	d.want("record", got, testRecord(d.seq, length))
	d.seq++
	d.records++
	d.bytes += uint64(length)
}

func (d *byteDecoder) footer(head []byte) {
	d.want("records", d.u64(), d.records)
	d.want("bytes", d.u64(), d.bytes)
	d.want("first", d.u64(), uint64(1000))
	d.want("next", d.u64(), d.seq)
	d.want("earliest", int64(d.u64()), testRecord(1000, 0).Time)
	d.want("latest", int64(d.u64()), testRecord(d.seq-1, 0).Time)
	d.want("digest", [32]byte(d.take(32)), sha256.Sum256(d.heads))
	entries, header, js := d.u32(), d.u32(), d.u32()
	d.zeros(4)
	// The first block, and the one after the large record: the others follow too closely.
	d.want("index entries", entries, 2)
	for _, want := range []struct {
		offset int
		first  uint64
	}{{d.offsets[0], 1000}, {d.offsets[3], 1004}} {
		d.want("index offset", d.u32(), want.offset)
		d.want("index first", d.u64(), want.first)
	}
	d.want("header", d.take(header), head)
	d.ledger(js)
}

func (d *byteDecoder) trailer(footer int) {
	start := d.pos
	d.want("footer offset", d.u64(), uint64(footer))
	d.want("generation", d.u64(), d.generation)
	d.zeros(8)
	d.want("checksum", d.u32(), sum(d.data[start:start+24]))
	d.want("magic", string(d.take(4)), "PEND")
}
