package format

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/penstock-go/penstock/spool/segment"
)

// Native is the name of the format that is a sealed segment file, which package segment decodes. The encoder writes each record
// again and leaves damaged blocks out, so that the same records give the same bytes.
const Native = "native"

var nativeFormat = &Format{
	Name: Native, Ext: ".seg", ContentType: "application/octet-stream", ReadsFile: true,
	Write: newNativeWriter,
	Read:  newNativeReader,
	Most: func(records, bytes uint64) int64 {
		// A gap ends a block, so each record may have a block and an index entry of its own. Header and ledger are there
		// twice.
		const perRecord, around = segment.MaxBlock - segment.MaxRecord + 16 + 12, 4 << 20
		return min(segment.MaxSize, int64(bytes+records*perRecord+around))
	},
}

// nativeWriter writes Native. It writes the segment again instead of copying the file: readers must not see the file's
// history (a torn tail, blocks that were moved to the next segment, remains of a recycled file, padding for the disk), and a
// damaged or unsealed source must give a sealed segment in which every block is sound. It keeps the header with its
// generation and ledger, every record, and the footer's ledger. Every reader sees a damaged stretch as sequence numbers that
// are missing between two blocks.
type nativeWriter struct {
	generation uint64
	builder    *segment.Builder
	ledger     segment.Ledger

	header []byte // until it is written
	offset int64  // of the next block
	block  []byte // under construction, its header not filled in
	first  uint64 // sequence number of its first record
	attrs  segment.AttrTable
	count  uint32
	next   uint64 // after the last record
}

func newNativeWriter(src *segment.Reader) (Writer, error) {
	h := *src.Header() // EncodeHeader sets its length
	header, err := segment.EncodeHeader(&h, 0)
	if err != nil {
		return nil, fmt.Errorf("format: native: %w", err)
	}
	b, err := segment.NewBuilder(header)
	if err != nil {
		return nil, fmt.Errorf("format: native: %w", err)
	}
	f := &nativeWriter{
		generation: h.Generation, builder: b, header: header, offset: int64(len(header)), next: h.First,
		ledger: h.Ledger, // the latest one that is known if there is no footer
		block:  make([]byte, segment.BlockHeaderSize, segment.BlockTarget+256),
	}
	if footer, ok := src.Footer(); ok {
		f.ledger = footer.Ledger
	}
	return f, nil
}

func (f *nativeWriter) Record(dst []byte, seq uint64, rec *segment.Record) ([]byte, error) {
	var err error
	if f.count > 0 && (seq != f.next || len(f.block)+segment.RecordSize(len(rec.Data), rec.Src)+f.attrs.Size(rec.Attrs) > segment.BlockTarget) {
		if dst, err = f.closeBlock(dst, segment.RecordBlock); err != nil {
			return dst, err
		}
	}
	if f.count == 0 {
		f.first = seq
	}
	f.block = f.attrs.AppendRecord(f.block, rec)
	f.count++
	f.next = seq + 1
	return dst, nil
}

func (f *nativeWriter) Finish(dst []byte, next uint64) ([]byte, error) {
	var err error
	if f.count > 0 {
		if dst, err = f.closeBlock(dst, segment.RecordBlock); err != nil {
			return dst, err
		}
	}
	if next > f.next {
		// Damage at the end: a block without records carries the number after it.
		js, err := json.Marshal(f.ledger)
		if err != nil {
			return dst, fmt.Errorf("format: native: %w", err)
		}
		f.block, f.first = append(f.block, js...), next
		if dst, err = f.closeBlock(dst, segment.LedgerBlock); err != nil {
			return dst, err
		}
	}
	seal, err := f.builder.Seal(f.offset, &f.ledger)
	if err != nil {
		return dst, fmt.Errorf("format: native: %w", err)
	}
	return append(f.appendHeader(dst), seal...), nil
}

// appendHeader appends the header, once.
func (f *nativeWriter) appendHeader(dst []byte) []byte {
	dst = append(dst, f.header...)
	f.header = nil
	return dst
}

// closeBlock appends the block under construction and begins the next one.
func (f *nativeWriter) closeBlock(dst []byte, t segment.Type) ([]byte, error) {
	dst = f.appendHeader(dst)
	if f.offset+int64(len(f.block)) > segment.MaxSize-segment.MaxBlock {
		return dst, errors.New("format: native: segment exceeds 4 GiB")
	}
	segment.Stamp(f.block, segment.BlockHeader{
		Generation: f.generation, Offset: f.offset, First: f.first, Count: f.count, Type: t,
		// The object is complete or not there: bytes that are missing before a block are damage, never a torn tail.
		Durable: uint32(f.offset),
	})
	f.builder.Add(f.offset, f.block)
	dst = append(dst, f.block...)
	padded := segment.Align(len(f.block))
	dst = append(dst, make([]byte, padded-len(f.block))...)
	f.offset += int64(padded)
	f.block, f.count = f.block[:segment.BlockHeaderSize], 0
	f.attrs.Reset()
	return dst, nil
}
