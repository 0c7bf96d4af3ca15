package ship

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/penstock-go/penstock/spool/segment"
)

// nativeFormat is Native. It writes the segment anew instead of copying the file: what a file has been through (a torn
// tail, blocks that went to the next segment, the remains of a recycled life, padding for the disk) is not for readers,
// and a damaged or unsealed source shall give a sealed segment whose every block is sound. Kept are the header with its
// generation and ledger, every record, and the footer's ledger. A damaged stretch stays visible to every reader as
// sequence numbers that are missing between two blocks.
type nativeFormat struct {
	generation uint64
	builder    *segment.Builder
	ledger     segment.Ledger

	header []byte // until it is written
	offset int64  // of the next block
	block  []byte // under construction, its header not filled in
	first  uint64 // sequence number of its first record
	count  uint32
	next   uint64 // behind the last record
}

func newNativeFormat(src *segment.Reader) (*nativeFormat, error) {
	h := *src.Header() // EncodeHeader sets its length
	header, err := segment.EncodeHeader(&h, 0)
	if err != nil {
		return nil, fmt.Errorf("ship: native format: %w", err)
	}
	b, err := segment.NewBuilder(header)
	if err != nil {
		return nil, fmt.Errorf("ship: native format: %w", err)
	}
	f := &nativeFormat{
		generation: h.Generation, builder: b, header: header, offset: int64(len(header)), next: h.First,
		ledger: h.Ledger, // the nearest that is known if there is no footer
		block:  make([]byte, segment.BlockHeaderSize, segment.BlockTarget+256),
	}
	if footer, ok := src.Footer(); ok {
		f.ledger = footer.Ledger
	}
	return f, nil
}

func (f *nativeFormat) record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error) {
	var err error
	if f.count > 0 && (seq != f.next || len(f.block)+rec.Size() > segment.BlockTarget) {
		if dst, err = f.close(dst, segment.RecordBlock); err != nil {
			return dst, err
		}
	}
	if f.count == 0 {
		f.first = seq
	}
	f.block = segment.AppendRecord(f.block, rec)
	f.count++
	f.next = seq + 1
	return dst, nil
}

func (f *nativeFormat) end(dst []byte, next uint64) ([]byte, error) {
	var err error
	if f.count > 0 {
		if dst, err = f.close(dst, segment.RecordBlock); err != nil {
			return dst, err
		}
	}
	if next > f.next {
		// Damage at the end: a block without records carries the number behind it.
		js, err := json.Marshal(f.ledger)
		if err != nil {
			return dst, fmt.Errorf("ship: native format: %w", err)
		}
		f.block, f.first = append(f.block, js...), next
		if dst, err = f.close(dst, segment.LedgerBlock); err != nil {
			return dst, err
		}
	}
	seal, err := f.builder.Seal(f.offset, &f.ledger)
	if err != nil {
		return dst, fmt.Errorf("ship: native format: %w", err)
	}
	return append(f.begin(dst), seal...), nil
}

// begin appends the header, once.
func (f *nativeFormat) begin(dst []byte) []byte {
	dst = append(dst, f.header...)
	f.header = nil
	return dst
}

// close appends the block under construction and begins the next one.
func (f *nativeFormat) close(dst []byte, t segment.Type) ([]byte, error) {
	dst = f.begin(dst)
	if f.offset+int64(len(f.block)) > segment.MaxSize-segment.MaxBlock {
		return dst, errors.New("ship: native format: segment exceeds 4 GiB")
	}
	segment.Stamp(f.block, segment.BlockHeader{
		Generation: f.generation, Offset: f.offset, First: f.first, Count: f.count, Type: t,
		// The object is complete or not there: whatever is missing below a block is damage, never a torn tail.
		Durable: uint32(f.offset),
	})
	f.builder.Add(f.offset, f.block)
	dst = append(dst, f.block...)
	padded := segment.Align(len(f.block))
	dst = append(dst, make([]byte, padded-len(f.block))...)
	f.offset += int64(padded)
	f.block, f.count = f.block[:segment.BlockHeaderSize], 0
	return dst, nil
}
