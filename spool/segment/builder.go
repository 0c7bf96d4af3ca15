package segment

import (
	"crypto/sha256"
	"fmt"
	"hash"
)

// Builder computes a segment's footer while the segment is written.
//
// Its cost is a pass over the headers of the records, which the writer has just written and so has in the CPU cache, and SHA-256
// over 32 bytes for each block. It is not safe for concurrent use.
type Builder struct {
	generation uint64
	f          Footer
	hash       hash.Hash // of the blocks' headers
}

// NewBuilder returns a Builder for the segment with this header, as EncodeHeader returned it.
func NewBuilder(header []byte) (*Builder, error) {
	h, err := DecodeHeader(header)
	if err != nil {
		return nil, err
	}
	b := &Builder{generation: h.Generation, hash: sha256.New()}
	b.f.First, b.f.Next = h.First, h.First
	b.f.Header = append([]byte(nil), trimHeader(header)...)
	return b, nil
}

// Add counts a block that Stamp has completed. Blocks must be added in the order of the file. It allocates only the index, which
// grows by 12 bytes for 64 KiB. If the write of a block fails, the block must be added to the Builder of the segment in which it
// is finally written.
func (b *Builder) Add(offset int64, block []byte) {
	h, _, _ := readBlockHeader(block, offset)
	b.hash.Write(block[:BlockHeaderSize])
	if n := len(b.f.Index); n == 0 || offset-int64(b.f.Index[n-1].Offset) >= indexEvery {
		b.f.Index = append(b.f.Index, IndexEntry{uint32(offset), h.First})
	}
	rest := block[BlockHeaderSize:]
	for range h.Count {
		size, payload, ok := recordLen(rest)
		if !ok {
			_, _, rest, _ = cutItem(rest)
			size, payload, _ = attrRecordLen(rest)
		}
		t := int64(le.Uint64(rest[4:]))
		if b.f.Records == 0 {
			b.f.Earliest, b.f.Latest = t, t
		}
		b.f.Earliest, b.f.Latest = min(b.f.Earliest, t), max(b.f.Latest, t)
		b.f.Records++
		b.f.Bytes += uint64(payload)
		rest = rest[size:]
	}
	b.f.Next = h.First + uint64(h.Count)
}

// Footer returns the footer as it would be now, without the ledger. Its Index and Header may only be read.
func (b *Builder) Footer() Footer {
	f := b.f
	b.hash.Sum(f.Digest[:0])
	return f
}

// Seal returns the bytes that seal the segment: footer and trailer. They must be written at offset, where the next block would
// begin, and the file must end with them. Everything below offset must be on stable storage before they are written:
// the footer says so, and readers rely on it.
func (b *Builder) Seal(offset int64, ledger *Ledger) ([]byte, error) {
	if offset%alignment != 0 || offset >= MaxSize-MaxBlock {
		return nil, fmt.Errorf("segment: cannot seal at offset %d", offset)
	}
	f := b.Footer()
	f.Ledger = *ledger
	block, err := f.append(make([]byte, BlockHeaderSize, 4096))
	if err != nil {
		return nil, err
	}
	// With the mark, a reader that finds the footer without its trailer can recognize damage before it.
	Stamp(block, BlockHeader{
		Generation: b.generation, Offset: offset, First: f.Next, Durable: uint32(offset), Type: FooterBlock,
	})
	for len(block)%alignment != 0 {
		block = append(block, 0)
	}
	return appendTrailer(block, b.generation, offset), nil
}
