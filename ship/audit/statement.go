package audit

import (
	"encoding/binary"
	"hash/maphash"

	"github.com/penstock-go/penstock/ship"
)

// lineSeed keys the hashes of lines. It is another one in each process, so that nobody can write a line with the hash of another line.
var lineSeed = maphash.MakeSeed()

// statement is the hashes of what a line says about its object. Two lines of one place may name the same object, and anyone with write
// access may write such a line, so an object that was found to be what one line says may still not be what the other line says.
type statement struct {
	content uint32 // of its records and its uncompressed content; 0 if nothing is known of the line
	bytes   uint32 // of its stored bytes; 0 if only the receipt describes them
}

// contradicts reports whether one object cannot be what both lines say.
func (x statement) contradicts(y statement) bool {
	return x.content != 0 && y.content != 0 && x.content != y.content || x.bytes != 0 && y.bytes != 0 && x.bytes != y.bytes
}

// hashLine returns what a line says about its object, and a hash of everything in it, apart from the key, that an examination of the object
// depends on. What else differs between two receipts (their times, say) does not count, because a sender that calls a place by
// another name states its objects again with receipts of their own.
func hashLine(s *ship.SegmentLine) (said statement, all uint64) {
	var h maphash.Hash
	h.SetSeed(lineSeed)
	hashNumbers(&h, s.First, s.Last, s.Records, s.Bytes, uint64(s.RawBytes), uint64(len(s.Gaps)))
	hashNumbers(&h, uint64(s.MinTime.Unix()), uint64(s.MinTime.Nanosecond()), uint64(s.MaxTime.Unix()), uint64(s.MaxTime.Nanosecond()))
	for _, g := range s.Gaps {
		hashNumbers(&h, g.First, g.Last)
	}
	hashStrings(&h, s.Format, s.Codec, s.RawSHA256)
	said.content = max(1, uint32(h.Sum64()))
	hashNumbers(&h, uint64(s.Size))
	hashStrings(&h, s.SHA256, s.CRC64NVME)
	if staged(s) {
		said.bytes = max(1, uint32(h.Sum64()))
	} else {
		hashNumbers(&h, uint64(s.Receipt.Size))
		hashStrings(&h, s.Receipt.Checksum)
	}
	if keepsSum(s) {
		_ = h.WriteByte(1)
	}
	return said, max(1, h.Sum64())
}

func hashNumbers(h *maphash.Hash, all ...uint64) {
	var b [8]byte
	for _, n := range all {
		binary.BigEndian.PutUint64(b[:], n)
		_, _ = h.Write(b[:])
	}
}

func hashStrings(h *maphash.Hash, all ...string) {
	for _, s := range all {
		hashNumbers(h, uint64(len(s)))
		_, _ = h.WriteString(s)
	}
}
