package segment

import (
	"fmt"
	"hash/crc32"
	"math"
)

// Type is the kind of a block's contents.
type Type uint8

// The types of blocks.
const (
	RecordBlock Type = 1
	LedgerBlock Type = 2
	FooterBlock Type = 3
)

// BlockHeader is the header of a block without the length and the checksum, which follow from the
// payload.
type BlockHeader struct {
	// Generation of the file, from its Header.
	Generation uint64
	// Offset of the block in the file, a multiple of 16.
	Offset int64
	// First is the sequence number of the block's first record; in a block without records, that of the next record.
	First uint64
	// Count of records; 0 for the other types.
	Count uint32
	// Durable is an offset below which every byte of the file was on stable storage before this block was written. Readers use it
	// to distinguish torn tails from damage. If it is too high, the effect of a power cut is reported as damage; if it is too low,
	// damage is not reported. At most Offset.
	Durable uint32
	Type    Type
}

// Stamp completes a block: it fills the first BlockHeaderSize bytes of block, which is followed by the payload.
// It allocates nothing, and may be called again for the same payload if the block must be written elsewhere after a failed
// write. The caller pads the block with zeros to the next multiple of 16 (see Align).
//
// It panics if the header violates the format (a block over MaxBlock, an offset that is not a multiple of 16 or beyond
// MaxSize, a mark above the offset, a count of 0 in a block of records): readers would treat such a block as damage.
func Stamp(block []byte, h BlockHeader) {
	if field := h.impossible(len(block)); field != "" {
		panic(fmt.Sprintf("segment: block of %d bytes with an impossible %s: %+v", len(block), field, h))
	}
	le.PutUint32(block[8:], uint32(len(block)))
	le.PutUint32(block[12:], h.Count)
	le.PutUint64(block[16:], h.First)
	le.PutUint32(block[24:], h.Durable)
	le.PutUint32(block[28:], uint32(h.Type))
	sum := checksum(block, h.Generation, h.Offset)
	le.PutUint32(block[0:], uint32(h.Generation))
	le.PutUint32(block[4:], sum)
}

// impossible returns the name of a field that violates the format for a block of n bytes, "" if there is none.
func (h *BlockHeader) impossible(n int) string {
	switch {
	case n < BlockHeaderSize || n > MaxBlock:
		return "length"
	case h.Offset < 0 || h.Offset%alignment != 0 || h.Offset+int64(n) > MaxSize:
		return "offset"
	case int64(h.Durable) > h.Offset:
		return "durable mark"
	case h.First == 0 || uint64(h.Count) > math.MaxUint64-h.First:
		return "first sequence number"
	case h.Type < RecordBlock || h.Type > FooterBlock:
		return "type"
	case (h.Type == RecordBlock) != (h.Count > 0) || int64(h.Count) > int64(n-BlockHeaderSize)/recordHeaderSize:
		return "count"
	}
	return ""
}

// checksum returns the CRC of a block. It uses the first 8 bytes of the block, which the CRC does not cover, as scratch space: a
// local array would escape to the heap through crc32's function variables.
func checksum(block []byte, generation uint64, offset int64) uint32 {
	scratch := block[:8]
	le.PutUint64(scratch, generation)
	sum := crc32.Update(0, castagnoli, scratch)
	le.PutUint64(scratch, uint64(offset))
	sum = crc32.Update(sum, castagnoli, scratch)
	return crc32.Update(sum, castagnoli, block[8:])
}

// intact reports whether a block's checksum is right. It changes the first 8 bytes temporarily, and restores them.
func intact(block []byte, generation uint64, offset int64) bool {
	tag, sum := le.Uint32(block), le.Uint32(block[4:])
	got := checksum(block, generation, offset)
	le.PutUint32(block, tag)
	le.PutUint32(block[4:], sum)
	return tag == uint32(generation) && got == sum
}

// readBlockHeader decodes the header at the start of b, which holds at least BlockHeaderSize bytes. It does not check the checksum.
func readBlockHeader(b []byte, offset int64) (h BlockHeader, length int, ok bool) {
	h = BlockHeader{
		Generation: uint64(le.Uint32(b)), // a block has only the low half
		Offset:     offset,
		First:      le.Uint64(b[16:]),
		Count:      le.Uint32(b[12:]),
		Durable:    le.Uint32(b[24:]),
		Type:       Type(b[28]),
	}
	n := le.Uint32(b[8:])
	if n > MaxBlock || !zero(b[29:32]) {
		return h, 0, false
	}
	return h, int(n), h.impossible(int(n)) == ""
}

// wellFormed reports whether a payload is exactly count records, with their attributes. The checksum was right, so only the block of a
// faulty writer can fail this check; code after it can rely on the structure.
func wellFormed(payload []byte, count uint32) bool {
	var attrs attrCheck
	for ; count > 0; count-- {
		n, _, ok := recordLen(payload)
		if !ok {
			if payload, n = attrs.next(payload); n == 0 {
				return false
			}
		}
		payload = payload[n:]
	}
	return len(payload) == 0
}
