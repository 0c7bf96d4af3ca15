package segment

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// ScanResult is what Scan has found out about a segment.
type ScanResult struct {
	Header *Header
	// Footer is set if the segment is sealed: nothing may be written to it any more.
	Footer *Footer
	// End is the offset after the last valid block before the footer, if any. It is followed by a torn tail, or by an
	// incomplete seal after a crash. Before you write at End, overwrite the rest with zeros and sync: otherwise valid blocks that a
	// power cut has left after the torn one would become part of the segment once the new blocks reach them.
	End int64
	// Next is the sequence number that comes next. If the last Damage is Unbounded, Next is the First of that Damage, and the
	// caller must find the true number elsewhere.
	Next uint64
	// Durable is the highest mark: everything below it was synced.
	Durable int64
	// Damage lists the invalid stretches that are not a torn tail.
	Damage []*DamageError
	// Ledger is the last one before the footer, that of the header if there is no other.
	Ledger *Ledger
	// Builder has counted every valid block: with it the segment can be sealed at End, or continued there. Its Footer has the
	// counts of records and bytes.
	Builder *Builder
}

// Scan reads a whole segment to find its end and its contents. It serves to recover a segment that its writer did not
// seal. It takes one pass, and memory for the largest block and for 12 bytes per 64 KiB. The errors are those of
// NewReader, and failed reads.
func Scan(r io.ReaderAt, size int64, o *ReadOptions) (*ScanResult, error) {
	if o == nil {
		o = new(ReadOptions)
	}
	f, err := openFile(r, size, *o)
	if err != nil {
		return nil, err
	}
	res := &ScanResult{Header: f.header, Footer: f.footer, Ledger: &f.header.Ledger}
	header := f.rawHeader
	// The footer needs a copy of the header; a damaged header is encoded again from the caller's copy.
	if header == nil {
		h := *f.header // a copy, because EncodeHeader sets Len
		if header, err = EncodeHeader(&h, h.Len); err != nil {
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
			continue // of an incomplete seal, which will be written again
		case LedgerBlock:
			l := new(Ledger)
			if json.Unmarshal(block[BlockHeaderSize:], l) == nil {
				res.Ledger = l
			}
		}
		res.Builder.Add(h.Offset, block)
		res.End = f.pos
	}
}

// Verify reads a sealed segment from end to end and compares counts, index and digest with the footer.
// The error is ErrCorrupt if anything differs, and lists each *DamageError.
func Verify(r io.ReaderAt, size int64) error {
	res, err := Scan(r, size, &ReadOptions{Durable: size})
	if err != nil {
		return err
	}
	if res.Footer == nil {
		return fmt.Errorf("%w: trailer or footer missing", ErrCorrupt)
	}
	var errs []error
	for _, d := range res.Damage {
		errs = append(errs, d)
	}
	got, want := res.Builder.Footer(), res.Footer
	if got.Digest != want.Digest || got.Records != want.Records || got.Bytes != want.Bytes || got.Next != want.Next ||
		got.Earliest != want.Earliest || got.Latest != want.Latest || !slices.Equal(got.Index, want.Index) {
		errs = append(errs, fmt.Errorf("%w: blocks and footer do not agree", ErrCorrupt))
	}
	return errors.Join(errs...)
}
