package audit

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"hash/maphash"
	"net/netip"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestOtherSegmentVersion: an object in the native format of another version is not understood, and no damage.
func TestOtherSegmentVersion(t *testing.T) {
	header, err := segment.EncodeHeader(&segment.Header{
		Generation: 1, Segment: 1, First: 1, Created: time.Unix(1, 0), Spool: "0123456789abcdefghijklmnop", Epoch: 1, Class: "vpn",
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, version := range []byte{segment.Version - 1, segment.Version + 1} {
		header[8] = version
		sum := crc32.Checksum(append(bytes.Clone(header[:16]), header[20:]...), crc32.MakeTable(crc32.Castagnoli))
		binary.LittleEndian.PutUint32(header[16:], sum)
		_, err = format.NewReader(format.Native, bytes.NewReader(header))
		if err = blame(err); !errors.Is(err, errNotUnderstood) || errors.Is(err, ship.ErrVerify) {
			t.Errorf("version %d: %v", version, err)
		}
	}
}

// TestComparisonRecords: what makes two records different ones, beside attributes.
func TestComparisonRecords(t *testing.T) {
	rec := func(data, src string, pairs map[string]string) segment.Record {
		r := segment.Record{Time: 1, Data: []byte(data)}
		if src != "" {
			r.Src = netip.MustParseAddrPort(src)
		}
		if pairs != nil {
			var err error
			if r.Attrs, err = segment.NewAttrs(pairs); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	for _, tc := range []struct {
		what        string
		plain, same bool
		here, there segment.Record
	}{
		{"other source", false, false, rec("x", "10.0.0.1:1", nil), rec("x", "10.0.0.2:1", nil)},
		{"other port", false, false, rec("x", "10.0.0.1:1", nil), rec("x", "10.0.0.1:2", nil)},
		{"no source", false, false, rec("x", "0.0.0.0:0", nil), rec("x", "", nil)},
		{"a mapped address", false, true, rec("x", "10.0.0.1:1", nil), rec("x", "[::ffff:10.0.0.1]:1", nil)},
		{"a payload like an attribute", false, false, rec("x", "", map[string]string{"a": "b"}), rec("a\x00b\x00x", "", nil)},
		{"the same like an end", false, false, rec("x", "", map[string]string{"a": "b"}), rec("a\x00b\x00\x00x", "", nil)},
		{"a newline at the end", false, false, rec("x\n", "", nil), rec("x", "", nil)},
		{"the same in Lines", true, true, rec("x\n", "10.0.0.1:1", nil), rec("x", "", nil)},
		{"two of them in Lines", true, false, rec("x\n\n", "", nil), rec("x", "", nil)},
	} {
		c := comparison{seed: maphash.MakeSeed(), plain: tc.plain, seqRange: seqRange{7, 7}, want: make([]uint64, 1), done: make([]bool, 1)}
		c.note(7, tc.here)
		c.look(7, tc.there)
		if lost, all := c.lost(); !all || (lost.last == 0) != tc.same {
			t.Errorf("%s: %+v, %v", tc.what, lost, all)
		}
	}
}

// TestComparisonAttrs: two records that differ only in their attributes are different records, unless one of the objects
// has only payloads.
func TestComparisonAttrs(t *testing.T) {
	set := func(pairs map[string]string) *segment.Attrs {
		a, err := segment.NewAttrs(pairs)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a := set(map[string]string{"k": "v"})
	for _, tc := range []struct {
		what        string
		plain, same bool
		here, there *segment.Attrs
	}{
		{"equal", false, true, a, set(map[string]string{"k": "v"})},
		{"none", false, true, nil, nil},
		{"other value", false, false, a, set(map[string]string{"k": "w"})},
		{"missing there", false, false, a, nil},
		{"missing here", false, false, nil, a},
		{"moved between key and value", false, false, set(map[string]string{"ab": "c"}), set(map[string]string{"a": "bc"})},
		{"plain", true, true, a, nil},
	} {
		c := comparison{seed: maphash.MakeSeed(), plain: tc.plain, seqRange: seqRange{7, 7}, want: make([]uint64, 1), done: make([]bool, 1)}
		c.note(7, segment.Record{Time: 1, Data: []byte("x"), Attrs: tc.here})
		c.look(7, segment.Record{Time: 1, Data: []byte("x"), Attrs: tc.there})
		if lost, all := c.lost(); !all || (lost.last == 0) != tc.same {
			t.Errorf("%s: %+v, %v", tc.what, lost, all)
		}
	}
}
