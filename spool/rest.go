package spool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// ReadSealed opens the records of a sealed segment. fs.ErrNotExist: there is no such segment, or only its staged file. An error of the
// disk, from ReadSealed or from the reader, may be permanent, but does not make the segment count as damaged. A caller that needs the
// records calls Stage, which decides after some attempts, and reads the staged file.
func (s *Shelf) ReadSealed(number uint64) (r *segment.Reader, done func() error, err error) {
	seg, ok := s.cat.get(number)
	if !ok || seg.NoRaw {
		return nil, nil, fmt.Errorf("spool: read segment %d: %w", number, fs.ErrNotExist)
	}
	f, err := s.fs.Open(s.segPath(number))
	if err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	r, err = segment.NewReader(f, seg.Size, &segment.ReadOptions{Durable: seg.Size, Next: seg.Last + 1, Segment: number})
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("spool: %w", err), f.Close())
	}
	return r, f.Close, nil
}

// StageRest stages the records of a sealed segment from the sequence number first on, for a destination whose chain contains the
// earlier ones. If the segment's own file was deleted to make room, or lacks records that are in the staged file, StageRest calls
// records, which must call put for each record of the staged file. The caller must call done after delivery. The next Open removes
// files that remain.
func (s *Shelf) StageRest(ctx context.Context, number, first uint64, enc Encoder, records func(put func(seq uint64, rec *segment.Record) error) error) (rec *StageRecord, body *io.SectionReader, done func(), err error) {
	if enc, err = s.guard(ctx, enc, number); err != nil {
		return nil, nil, nil, err
	}
	defer s.calls.Done()
	ctx, end := s.untilClosed(ctx)
	defer end()
	seg, ok := s.cat.get(number)
	if !ok {
		return nil, nil, nil, fmt.Errorf("spool: stage segment %d: %w", number, fs.ErrNotExist)
	}
	path := s.restPath(number, objExt)
	within, _ := s.beyondQuota(&seg, seg.Size)
	defer within()
	src, closeSrc, err := s.ReadSealed(number)
	var out staged
	if err == nil {
		out, err = s.encodeRest(ctx, &seg, first, path, enc, src, closeSrc)
	}
	if err != nil && seg.Staged && ctx.Err() == nil && !errors.Is(err, ErrFull) {
		own := err
		if src, closeSrc, err = s.rewritten(ctx, &seg, records); err == nil {
			out, err = s.encodeRest(ctx, &seg, first, path, enc, src, closeSrc)
		}
		if err != nil {
			err = fmt.Errorf("%w (the segment's own file: %v)", err, own)
		}
	}
	if err != nil {
		return nil, nil, nil, err
	}
	defer func() { _ = closeSrc() }()
	f, err := s.fs.Open(path)
	if err != nil {
		s.space.unlink(path, out.size)
		return nil, nil, nil, fmt.Errorf("spool: %w", err)
	}
	done = func() {
		_ = f.Close()
		s.space.unlink(path, out.size)
	}
	seg.First, seg.Gaps = first, out.Gaps
	if seg.Bytes, err = restBytes(src, first); err != nil {
		done()
		return nil, nil, nil, err
	}
	rec = s.newRecord(seg, src, out)
	s.space.logOverdraft(rec)
	return rec, io.NewSectionReader(f, 0, out.size), done, nil
}

// restPath returns a new path for each call: several destinations may need the rest of a segment at the same time, even the same one.
// Recovery removes files with such names.
func (s *Shelf) restPath(number uint64, ext string) string {
	return s.path(stageDir, fmt.Sprintf("%s-rest-%d%s", numberName(number), s.rests.Add(1), ext))
}

// encodeRest encodes the rest of a segment from src, and closes src on failure. It fails if src lacks records that are in the staged
// file, because the destination would never get them.
func (s *Shelf) encodeRest(ctx context.Context, seg *sealed, first uint64, path string, enc Encoder, src *segment.Reader, closeSrc func() error) (out staged, err error) {
	defer func() {
		if err != nil {
			_ = closeSrc()
		}
	}()
	if err := src.Begin(first); err != nil {
		return out, fmt.Errorf("spool: read segment %d: %w", seg.Number, err)
	}
	out, err = s.stageTo(seg.Number, path, func(w io.Writer) (object.Encoded, error) { return enc.Encode(ctx, w, src, nil) })
	if err != nil {
		return out, fmt.Errorf("spool: stage segment %d: %w", seg.Number, err)
	}
	if have := seg.readableFrom(first); seg.Staged && out.Records < have {
		s.space.unlink(path, out.size)
		return out, fmt.Errorf("spool: stage segment %d: %w: %d records from %d on, and %d are staged", seg.Number, ErrCorrupt, out.Records, first, have)
	}
	return out, nil
}

// readableFrom counts the records from a sequence number on, without the damaged ones.
func (s *sealed) readableFrom(first uint64) (n uint64) {
	if first > s.Last {
		return 0
	}
	n = s.Last - first + 1
	for _, g := range s.Gaps {
		if from, to := max(g.First, first), min(g.Last, s.Last); from <= to {
			n -= to - from + 1
		}
	}
	return n
}

// restBytes adds up the payload of a segment's records from a sequence number on.
func restBytes(r *segment.Reader, first uint64) (n uint64, err error) {
	if err := r.Seek(first); err != nil {
		return 0, fmt.Errorf("spool: %w", err)
	}
	for {
		seq, rec, err := r.Next()
		var damage *segment.DamageError
		switch {
		case err == io.EOF:
			return n, nil
		case errors.As(err, &damage):
		case err != nil:
			return n, fmt.Errorf("spool: %w", err)
		case seq >= first:
			n += uint64(len(rec.Data))
		}
	}
}

// rewritten makes a temporary segment file from the records in the staged file. One block
// for each record is wasteful, but acceptable: this happens only on a full copy of a volume.
func (s *Shelf) rewritten(ctx context.Context, seg *sealed, records func(put func(seq uint64, rec *segment.Record) error) error) (r *segment.Reader, done func() error, err error) {
	rec, err := s.stageRecord(seg.Number)
	if err != nil {
		return nil, nil, err
	}
	h, err := segment.DecodeHeader(rec.Header)
	if err != nil {
		return nil, nil, fmt.Errorf("spool: segment %d: %w", seg.Number, err)
	}
	path := s.restPath(seg.Number, vfs.TempSuffix)
	f, err := s.fs.Create(path)
	if err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	done = func() error { return errors.Join(f.Close(), s.fs.Remove(path)) }
	size, err := callGated(ctx, s.space, "Shelf.StageRest: records", io.NewOffsetWriter(f, 0), func(dst io.Writer) (int64, error) {
		return writeAgain(dst, h, records)
	})
	if err == nil {
		r, err = segment.NewReader(f, size, &segment.ReadOptions{Durable: size, Next: seg.Last + 1, Segment: seg.Number})
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("spool: write segment %d once more: %w", seg.Number, err), done())
	}
	return r, done, nil
}

// writeAgain writes a segment without a footer, and returns its size.
func writeAgain(dst io.Writer, h *segment.Header, records func(put func(seq uint64, rec *segment.Record) error) error) (off int64, err error) {
	b, err := segment.EncodeHeader(h, 0)
	if err == nil {
		_, err = dst.Write(b)
	}
	if err != nil {
		return 0, err
	}
	off = int64(len(b))
	err = records(func(seq uint64, rec *segment.Record) error {
		b = segment.AppendRecord(append(b[:0], make([]byte, segment.BlockHeaderSize)...), rec)
		segment.Stamp(b, segment.BlockHeader{Generation: h.Generation, Offset: off, First: seq, Count: 1, Type: segment.RecordBlock})
		b = append(b, make([]byte, segment.Align(len(b))-len(b))...)
		_, err := dst.Write(b)
		off += int64(len(b))
		return err
	})
	return off, err
}
