package segment

import (
	"encoding/json"
	"io"
)

// ScanResult is what recovery needs to know about a segment.
type ScanResult struct {
	Header *Header
	// Sealed is set if trailer and footer are intact: nothing may be written to the segment any more.
	Sealed bool
	// End is the offset behind the last valid block before the footer, if any: what lies behind it is a torn tail (or a
	// seal that a crash cut short). To go on writing here, first make it zeros, and sync: valid blocks that a power cut
	// left behind the torn one would otherwise come to life again once the new ones reach them.
	End int64
	// Next is the sequence number that comes next.
	Next uint64
	// Durable is the highest mark: everything below it had been synced.
	Durable int64
	// Damage lists what is missing below the mark.
	Damage []*DamageError
	// Ledger is the last one found, that of the header if there is no other. LedgerBlocks counts those behind the header.
	Ledger       *Ledger
	LedgerBlocks int
	// Builder has counted every valid block: with it the segment can be sealed at End, or written on. Its Footer has the
	// counts of records and bytes.
	Builder *Builder
}

// Scan reads a whole segment to find where it ends and what it holds: the recovery of a segment that its writer did not
// seal. It takes one pass, and memory for the largest block and for 12 bytes per 64 KiB. The errors are those of
// NewReader, and of reads that failed.
func Scan(r io.ReaderAt, size int64, o ReadOptions) (*ScanResult, error) {
	f, err := openFile(r, size, o)
	if err != nil {
		return nil, err
	}
	res := &ScanResult{Header: f.header, Sealed: f.footer != nil, Ledger: &f.header.Ledger}
	header := f.rawHeader
	if header == nil {
		if header, err = EncodeHeader(f.header, f.header.Len); err != nil {
			return nil, err
		}
	}
	if res.Builder, err = NewBuilder(header); err != nil {
		return nil, err
	}
	if f.headless != nil {
		res.Damage = append(res.Damage, f.headless)
	}
	res.End = f.pos
	for {
		h, block, err := f.step()
		d, damaged := err.(*DamageError)
		switch {
		case err == io.EOF:
			res.Next, res.Durable = f.seq, f.durable
			return res, nil
		case damaged:
			res.Damage = append(res.Damage, d)
			continue
		case err != nil:
			return nil, err
		}
		switch h.Type {
		case FooterBlock:
			continue
		case LedgerBlock:
			l := new(Ledger)
			if json.Unmarshal(block[BlockHeaderSize:], l) == nil {
				res.Ledger = l
				res.LedgerBlocks++
			}
		}
		res.Builder.Add(h.Offset, block)
		res.End = f.pos
	}
}
