package audit

import (
	"context"
	"fmt"
	"io"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/segment"
)

// The auditor does not trust any answer of a place to end. It stops reading at the first byte that should not be there. The
// length of an object is bounded by its line or the listing; that of its uncompressed content, by what its records can take.
// A document (manifest, head, closing, note of a repair) has a maximum size of its own, and drivers bound listings.

// maxKey bounds the names that are listed, in bytes: those of S3, which are the longest.
const maxKey = 1024

// maxRepeats bounds how often a listing may show the same name before it counts as endless.
const maxRepeats = 1000

// maxCatalogue bounds what the catalogue of a place's chains keeps in memory: ranges of manifests, heads and closings, 100
// bytes each.
const maxCatalogue = 4 << 20

// room bounds the temporary files of an audit: Native objects are written to one before they are read.
type room struct {
	turn   chan struct{}
	pieces chan struct{}
}

const roomPiece = 256 << 20

// newRoom returns room for one object of the maximum size, or several smaller ones.
func newRoom() *room {
	return &room{turn: make(chan struct{}, 1), pieces: make(chan struct{}, segment.MaxSize/roomPiece)}
}

// reserve waits until there is room for so many bytes. A caller that has room never asks for more, so callers cannot block
// each other.
func (r *room) reserve(ctx context.Context, bytes int64) (done func(), err error) {
	n := int(min(bytes, segment.MaxSize)/roomPiece) + 1
	n = min(n, cap(r.pieces))
	taken := 0
	done = func() {
		for range taken {
			<-r.pieces
		}
	}
	select {
	case r.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	defer func() { <-r.turn }()
	for range n {
		select {
		case r.pieces <- struct{}{}:
			taken++
		case <-ctx.Done():
			done()
			return nil, context.Cause(ctx)
		}
	}
	return done, nil
}

// recordStream is what an object holds, uncompressed and as records.
type recordStream struct {
	format.Reader
	plain io.ReadCloser
	raw   io.Reader
	done  func()
}

// openRecords decodes an object. It reads at most one byte more of the uncompressed content than most, enough to detect an
// excess. raw, if it is not nil, gets a copy of that content.
func (p *place) openRecords(ctx context.Context, stored io.Reader, f *format.Format, codec compress.Codec, most int64, raw io.Writer) (s *recordStream, err error) {
	s = &recordStream{done: func() {}}
	if f.ReadsFile {
		if s.done, err = p.o.temp.reserve(ctx, most+1); err != nil {
			return nil, err
		}
	}
	if s.plain, err = codec.NewReader(stored); err != nil {
		s.done()
		return nil, blame(err)
	}
	s.raw = io.LimitReader(s.plain, most+1)
	if raw != nil {
		s.raw = io.TeeReader(s.raw, raw)
	}
	r, err := f.NewReader(s.raw)
	if err != nil {
		s.close()
		return nil, blame(err)
	}
	s.Reader = r
	return s, nil
}

// rest reads what the record reader has left of the content.
func (s *recordStream) rest() error {
	_, err := io.Copy(io.Discard, s.raw)
	return err
}

func (s *recordStream) close() {
	if s.Reader != nil {
		_ = s.Reader.Close() // closing twice does no harm
	}
	_ = s.plain.Close()
	s.done()
}

// checkLength checks, before anything is decompressed, whether a line can be right about the length of its content.
func checkLength(f *format.Format, s *ship.SegmentLine) error {
	if most := f.MaxRaw(s.Records, s.Bytes); s.RawBytes > most {
		return fmt.Errorf("%w: its line says that its content is %d bytes, and %d records of %d bytes take %d at most", errRecords, s.RawBytes, s.Records, s.Bytes, most)
	}
	return nil
}
