package segment

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
)

const (
	// footerFixed is the length of a footer without index, header and ledger.
	footerFixed    = 96
	indexEntrySize = 12
	// indexEvery is the smallest distance in bytes between blocks that get an index entry. A quiet listener makes one small block
	// each 10 ms; an entry for each would make the footer nearly as long as the segment.
	indexEvery = 64 << 10
)

var trailerMagic = [4]byte{'P', 'E', 'N', 'D'}

// IndexEntry is the start of a block.
type IndexEntry struct {
	Offset uint32
	// First sequence number in the block; in a block without records, that of the next record.
	First uint64
}

// Footer is the summary at the end of a sealed segment.
type Footer struct {
	// Records and Bytes (payloads only) count the records that could be read when the segment was sealed.
	Records uint64
	Bytes   uint64
	// First is the first sequence number, as in the header, Next the one after the last. Next − First − Records records are damaged.
	First uint64
	Next  uint64
	// Earliest and Latest are the first and the last arrival time, in Unix nanoseconds; both are 0 without records.
	Earliest int64
	Latest   int64
	// Digest is the SHA-256 over the 32-byte headers of all blocks before the footer, in order. They hold the
	// checksums of the payloads.
	Digest [32]byte
	// Header is a copy of the segment's header without its padding, in case the header is damaged.
	Header []byte
	// Ledger at the end of the segment.
	Ledger Ledger
	// Index has an entry for the first block, and for each that begins 64 KiB or more after the previous entry.
	Index []IndexEntry
}

// Encode returns the footer as the payload of a block. It returns an error if the ledger cannot be encoded as JSON (a year above
// 9999), or if the footer exceeds MaxBlock.
func (f *Footer) Encode() ([]byte, error) {
	return f.append(nil)
}

func (f *Footer) append(dst []byte) ([]byte, error) {
	js, err := json.Marshal(f.Ledger)
	if err != nil {
		return nil, fmt.Errorf("segment: encode footer: %w", err)
	}
	n := footerFixed + len(f.Index)*indexEntrySize + len(f.Header) + len(js)
	if n > MaxBlock-BlockHeaderSize {
		return nil, fmt.Errorf("segment: footer of %d bytes exceeds a block", n)
	}
	for _, v := range [...]uint64{f.Records, f.Bytes, f.First, f.Next, uint64(f.Earliest), uint64(f.Latest)} {
		dst = le.AppendUint64(dst, v)
	}
	dst = append(dst, f.Digest[:]...)
	for _, v := range [...]int{len(f.Index), len(f.Header), len(js), 0} {
		dst = le.AppendUint32(dst, uint32(v))
	}
	for _, e := range f.Index {
		dst = le.AppendUint32(dst, e.Offset)
		dst = le.AppendUint64(dst, e.First)
	}
	dst = append(dst, f.Header...)
	return append(dst, js...), nil
}

// DecodeFooter decodes the payload of a footer block. The error is ErrCorrupt.
func DecodeFooter(payload []byte) (*Footer, error) {
	if len(payload) < footerFixed {
		return nil, fmt.Errorf("%w: footer of %d bytes", ErrCorrupt, len(payload))
	}
	u := func(at int) uint64 { return le.Uint64(payload[at:]) }
	f := &Footer{
		Records: u(0), Bytes: u(8), First: u(16), Next: u(24),
		Earliest: int64(u(32)), Latest: int64(u(40)), Digest: [32]byte(payload[48:80]),
	}
	entries, header, js := int64(le.Uint32(payload[80:])), int64(le.Uint32(payload[84:])), int64(le.Uint32(payload[88:]))
	if footerFixed+entries*indexEntrySize+header+js != int64(len(payload)) || !zero(payload[92:96]) {
		return nil, fmt.Errorf("%w: impossible lengths in the footer", ErrCorrupt)
	}
	// These checks are needed because Seek relies on an index in order, with sequence numbers of this segment.
	if f.First == 0 || f.Next < f.First || f.Records > f.Next-f.First || f.Earliest > f.Latest {
		return nil, fmt.Errorf("%w: impossible counts in the footer", ErrCorrupt)
	}
	rest := payload[footerFixed:]
	f.Index = make([]IndexEntry, entries)
	for i := range f.Index {
		e := IndexEntry{le.Uint32(rest), le.Uint64(rest[4:])}
		if e.Offset%alignment != 0 || e.First < f.First || e.First > f.Next ||
			i > 0 && (e.Offset <= f.Index[i-1].Offset || e.First < f.Index[i-1].First) {
			return nil, fmt.Errorf("%w: index entry %d of the footer is out of order", ErrCorrupt, i)
		}
		f.Index[i] = e
		rest = rest[indexEntrySize:]
	}
	f.Header = append([]byte(nil), rest[:header]...)
	if err := json.Unmarshal(rest[header:], &f.Ledger); err != nil {
		return nil, fmt.Errorf("%w: footer: %v", ErrCorrupt, err)
	}
	return f, nil
}

// appendTrailer appends the end of a sealed segment whose footer block begins at off.
func appendTrailer(dst []byte, generation uint64, off int64) []byte {
	start := len(dst)
	dst = le.AppendUint64(dst, uint64(off))
	dst = le.AppendUint64(dst, generation)
	dst = le.AppendUint64(dst, 0)
	dst = le.AppendUint32(dst, crc32.Checksum(dst[start:], castagnoli))
	return append(dst, trailerMagic[:]...)
}

// decodeTrailer decodes the last bytes of a sealed segment.
func decodeTrailer(b []byte) (generation uint64, off int64, ok bool) {
	if len(b) != TrailerSize || [4]byte(b[28:]) != trailerMagic || !zero(b[16:24]) ||
		le.Uint32(b[24:]) != crc32.Checksum(b[:24], castagnoli) {
		return 0, 0, false
	}
	off = int64(le.Uint64(b))
	if off < headerFixed || off >= MaxSize || off%alignment != 0 {
		return 0, 0, false
	}
	return le.Uint64(b[8:]), off, true
}
