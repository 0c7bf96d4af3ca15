package segment

import (
	"fmt"
	"net/netip"
)

// MaxRecord is the largest payload of a record in bytes (16 MiB − 1).
const MaxRecord = 1<<24 - 1

// A record's header is 12 bytes, then the source.
const (
	recordHeaderSize  = 12
	source4Size       = 4 + 2
	source6Size       = 16 + 2
	maxRecordOverhead = recordHeaderSize + source6Size

	kindNone = 0
	kind4    = 4
	kind6    = 6
	// kindAttrs is added to the kind of a record that has attributes. No record without attributes has a kind at or above it.
	kindAttrs = 0x10
)

// Record is one datagram or one framed message.
type Record struct {
	// Time of arrival, Unix nanoseconds. The code that creates the Record must set it: 0 is 1970.
	Time int64
	// Src is the sender. The zero AddrPort means unknown or none (a unix socket). IPv4-mapped addresses are stored as
	// IPv4; zones are not stored, since they mean nothing on another host.
	Src netip.AddrPort
	// Data is the payload as it came. The Data of a Record from a Reader may be used only until the next call of the Reader.
	Data []byte
	// Attrs are the record's attributes, nil for none.
	Attrs *Attrs
}

// Range is an inclusive range of sequence numbers.
type Range struct {
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// RecordSize returns the size in a block of a record without attributes, with a payload of n bytes from src.
func RecordSize(n int, src netip.AddrPort) int {
	switch a := src.Addr(); {
	case !a.IsValid():
		return recordHeaderSize + n
	case a.Is4() || a.Is4In6():
		return recordHeaderSize + source4Size + n
	default:
		return recordHeaderSize + source6Size + n
	}
}

// Size returns how many bytes AppendRecord adds for r.
func (r *Record) Size() int { return RecordSize(len(r.Data), r.Src) + r.Attrs.Size() }

// AppendRecord appends r as it is encoded in a block of records, with its attributes if it has any. In a block of several
// records an AttrTable writes each set of attributes once. It allocates only if dst has no room. It panics if the payload is
// longer than MaxRecord, because such a length does not fit its field, and would turn the rest of the block into garbage.
func AppendRecord(dst []byte, r *Record) []byte { return appendRecord(dst, r, nil) }

// appendRecord appends r to a block whose sets are in t, or to a block of a single record if t is nil.
func appendRecord(dst []byte, r *Record, t *AttrTable) []byte {
	if len(r.Data) > MaxRecord {
		panic(fmt.Sprintf("segment: record of %d bytes exceeds %d", len(r.Data), MaxRecord))
	}
	addr := r.Src.Addr()
	kind := uint32(kindNone)
	switch {
	case !addr.IsValid():
	case addr.Is4() || addr.Is4In6():
		kind = kind4
	default:
		kind = kind6
	}
	head := uint32(len(r.Data)) | kind<<24
	if r.Attrs.encoded() != "" {
		dst = t.choose(dst, r.Attrs)
		head |= kindAttrs << 24
	}
	dst = le.AppendUint32(dst, head)
	dst = le.AppendUint64(dst, uint64(r.Time))
	switch kind {
	case kind4:
		a := addr.As4() // unmaps ::ffff:a.b.c.d
		dst = append(dst, a[:]...)
		dst = le.AppendUint16(dst, r.Src.Port())
	case kind6:
		a := addr.As16()
		dst = append(dst, a[:]...)
		dst = le.AppendUint16(dst, r.Src.Port())
	}
	return append(dst, r.Data...)
}

// recordLen returns the lengths of the record at the start of b and of its payload; ok is false if it does not fit in b,
// or is not a record without attributes.
func recordLen(b []byte) (size, payload int, ok bool) {
	if len(b) < recordHeaderSize {
		return 0, 0, false
	}
	head := le.Uint32(b)
	payload = int(head & MaxRecord)
	switch head >> 24 {
	case kindNone:
		size = recordHeaderSize + payload
	case kind4:
		size = recordHeaderSize + source4Size + payload
	case kind6:
		size = recordHeaderSize + source6Size + payload
	default:
		return 0, 0, false
	}
	return size, payload, size <= len(b)
}

// takeRecord decodes the record at the start of b, which wellFormed has accepted, into r, which is zero except for its attributes.
// It returns the bytes after the record.
func takeRecord(b []byte, r *Record) (rest []byte) {
	head := le.Uint32(b)
	r.Time = int64(le.Uint64(b[4:]))
	p := b[recordHeaderSize:]
	switch head >> 24 &^ kindAttrs {
	case kind4:
		r.Src = netip.AddrPortFrom(netip.AddrFrom4([4]byte(p)), le.Uint16(p[4:]))
		p = p[source4Size:]
	case kind6:
		r.Src = netip.AddrPortFrom(netip.AddrFrom16([16]byte(p)), le.Uint16(p[16:]))
		p = p[source6Size:]
	}
	n := head & MaxRecord
	// The capacity ends with the payload, so that an append by the caller does not overwrite the next record.
	r.Data = p[:n:n]
	return p[n:]
}
