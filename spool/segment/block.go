package segment

import (
	"fmt"
	"hash/crc32"
	"math"
)

// Type says what a block holds.
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
	// First is the sequence number of the block's first record; without records, of the next one to come.
	First uint64
	// Count of records; 0 for the other types.
	Count uint32
	// Durable: every byte of the file below it was on stable storage before this block was written. Readers tell torn
	// tails from damage by it, so a mark that promises too much turns what a power cut took into an alarm, and one that
	// promises too little turns damage into silence. At most Offset.
	Durable uint32
	Type    Type
}

// Stamp completes a block: it fills the first BlockHeaderSize bytes of block, which is followed by the payload.
// It allocates nothing, and may be called again for the same payload when the block has to go elsewhere after a failed
// write. The caller pads the block with zeros to the next multiple of 16 (see Align).
//
// It panics if the header breaks the format (a block over MaxBlock, an offset that is no multiple of 16 or beyond
// MaxSize, a mark above the offset, a count of 0 in a block of records): readers would take such a block for damage.
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

// impossible names the field that no writer could have put before a block of n bytes, or is empty.
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

// checksum returns the CRC of a block, using its first 8 bytes, which the CRC does not cover, as scratch: an array of
// our own would escape to the heap through crc32's function variables.
func checksum(block []byte, generation uint64, offset int64) uint32 {
	scratch := block[:8]
	le.PutUint64(scratch, generation)
	sum := crc32.Update(0, castagnoli, scratch)
	le.PutUint64(scratch, uint64(offset))
	sum = crc32.Update(sum, castagnoli, scratch)
	return crc32.Update(sum, castagnoli, block[8:])
}

// intact reports whether a block's checksum holds. It leaves the block as it was, but uses its first bytes meanwhile.
func intact(block []byte, generation uint64, offset int64) bool {
	tag, sum := le.Uint32(block), le.Uint32(block[4:])
	got := checksum(block, generation, offset)
	le.PutUint32(block, tag)
	le.PutUint32(block[4:], sum)
	return tag == uint32(generation) && got == sum
}

// readBlockHeader decodes the header at the start of b, which holds at least BlockHeaderSize bytes, without its checksum.
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

// wellFormed reports whether a payload is exactly count records, with their attributes. The checksum has already passed, so only a faulty
// writer fails here; but no code after this check has to be careful.
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
