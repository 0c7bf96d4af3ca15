package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// missing is a range of records that cannot be read.
type missing struct {
	Segment uint64   `json:"segment,omitempty"`
	First   uint64   `json:"first"`
	Last    uint64   `json:"last"`
	Why     string   `json:"why"`
	Files   []string `json:"files,omitempty"` // that may hold some of them
}

func (m *missing) String() string {
	s := fmt.Sprintf("records %s are missing: %s", span(m.First, m.Last), m.Why)
	for _, f := range m.Files {
		s += "; see " + f
	}
	return s
}

// walker goes through the records of a spool in their order: those of segment files and, where these are gone or damaged, those of
// staged files.
type walker struct {
	d        *spool.Directory
	segments []*spool.SegmentFile // in the order of their records
	filter   *filter
	// each gets every record that the filter lets pass, and miss every range that is missing between records. An error ends the
	// walk.
	each func(s *spool.SegmentFile, seq uint64, rec *segment.Record) error
	miss func(m missing)
	// read is told of each segment that is done.
	read func(s *spool.SegmentFile)

	next uint64 // the sequence number that comes next, 0 before the first segment
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// run walks. The error is that of each, but for errEnough, or that of ctx.
func (w *walker) run(ctx context.Context) error {
	for _, s := range w.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.State == spool.SegmentBlank || s.First == 0 {
			continue // what is missing in its place shows in the next one
		}
		if s.State == spool.SegmentUnreadable {
			continue
		}
		if w.next > 0 && s.First > w.next {
			w.lost(s.Number-1, w.next, s.First-1, "no file has them")
		}
		if s.State != spool.SegmentActive && s.Last < s.First {
			w.next = max(w.next, s.First)
			continue
		}
		if !w.filter.wants(s) {
			w.next = max(w.next, s.Last+1)
			continue
		}
		if err := w.segment(ctx, s); err != nil {
			if errors.Is(err, errEnough) {
				return nil
			}
			return err
		}
		if w.read != nil {
			w.read(s)
		}
	}
	if w.next > 0 && !w.d.Open && w.d.Next > w.next {
		w.lost(w.d.Newest, w.next, w.d.Next-1, "no file has them, and they had been written")
	}
	return nil
}

// lost tells that records are missing, as far as they are wanted.
func (w *walker) lost(number, first, last uint64, why string) {
	first, last = max(first, w.filter.first), min(last, w.filter.last)
	if last < first || w.next > last && last != segment.Unbounded {
		return
	}
	m := missing{Segment: number, First: first, Last: last, Why: why}
	for _, x := range w.d.Damages {
		if slices.ContainsFunc(x.Ranges, func(r segment.Range) bool { return r.First <= last && first <= r.Last }) {
			m.Files = append(m.Files, x.Files...)
		}
	}
	w.miss(m)
}

// pass hands a record on, unless it was handed on before: files that overlap hold the same records.
func (w *walker) pass(s *spool.SegmentFile, seq uint64, rec *segment.Record) error {
	if seq < w.next {
		return nil
	}
	w.next = seq + 1
	if !w.filter.passes(seq, rec) {
		return nil
	}
	return w.each(s, seq, rec)
}

// segment reads one segment.
func (w *walker) segment(ctx context.Context, s *spool.SegmentFile) error {
	w.next = max(w.next, s.First)
	if s.Path == "" {
		return w.staged(ctx, s, s.First, s.Last, "the staged file is the only one")
	}
	r, err := s.Open()
	if err != nil {
		return w.staged(ctx, s, s.First, s.Last, err.Error())
	}
	defer r.Close()
	if w.filter.first > s.First {
		if err := r.Seek(w.filter.first); err != nil {
			return err
		}
		w.next = max(w.next, w.filter.first)
	}
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		seq, rec, err := r.Next()
		damage, damaged := errors.AsType[*segment.DamageError](err)
		switch {
		case err == nil:
			if seq > w.filter.last {
				return errEnough
			}
			err = w.pass(s, seq, &rec)
		case err == io.EOF:
			if s.State == spool.SegmentSealed && s.Last+1 > w.next && s.Last <= w.filter.last {
				err = w.staged(ctx, s, w.next, s.Last, "they are missing in the segment")
				return err
			}
			return nil
		case damaged:
			lost, some := damage.Range()
			if !some {
				continue
			}
			if lost.Last == segment.Unbounded && s.Last >= lost.First {
				lost.Last = s.Last
			}
			err = w.staged(ctx, s, lost.First, lost.Last, damage.Error())
		default:
			return w.staged(ctx, s, w.next, s.Last, err.Error())
		}
		if err != nil {
			return err
		}
	}
}

// staged reads a range of records from the staged file of a segment, because its own file does not have them: why.
func (w *walker) staged(ctx context.Context, s *spool.SegmentFile, first, last uint64, why string) error {
	first = max(first, w.next)
	if last < first {
		return nil
	}
	err := w.fromObject(ctx, s, first, last)
	if _, bad := errors.AsType[*objectError](err); err != nil && !bad {
		return err
	}
	if err != nil && s.Object != "" {
		why += "; " + err.Error()
	}
	if w.next <= last {
		w.lost(s.Number, w.next, last, why)
		if last != segment.Unbounded {
			w.next = last + 1
		}
	}
	return nil
}

// objectError says that a staged file cannot be read any further.
type objectError struct{ err error }

func (e *objectError) Error() string { return "the staged file: " + e.err.Error() }
func (e *objectError) Unwrap() error { return e.err }

// fromObject hands on the records of a range that a staged file has.
func (w *walker) fromObject(ctx context.Context, s *spool.SegmentFile, first, last uint64) error {
	if s.Object == "" {
		return &objectError{errors.New("there is none")}
	}
	rec := s.Record
	if rec == nil {
		var err error
		if rec, err = w.d.StageRecord(s.Number); err != nil {
			return &objectError{err}
		}
	}
	body, closer, err := w.d.OpenFile(s.Object)
	if err != nil {
		return &objectError{err}
	}
	defer closer.Close()
	return readObject(ctx, body, rec, func(seq uint64, r *segment.Record) error {
		switch {
		case seq < first:
			return nil
		case seq > last:
			return errRange
		}
		if seq > w.next {
			w.lost(s.Number, w.next, seq-1, "they are missing in the staged file")
		}
		return w.pass(s, seq, r)
	})
}

// errRange ends the reading of a staged file after the range that is wanted.
var errRange = errors.New("after the range")

// readObject calls each with the records of a staged file. The error is that of each, or an *objectError.
func readObject(ctx context.Context, body io.Reader, rec *spool.StageRecord, each func(seq uint64, r *segment.Record) error) error {
	f, err1 := format.ByName(rec.Format)
	codec, err2 := compress.ByName(rec.Codec)
	if err := errors.Join(err1, err2); err != nil {
		return &objectError{err}
	}
	raw, err := codec.NewReader(body)
	if err != nil {
		return &objectError{err}
	}
	defer raw.Close()
	r, err := f.NewReader(io.LimitReader(raw, rec.RawBytes+1)) // no more than was staged: a hostile file may unpack to anything
	if err != nil {
		return &objectError{err}
	}
	defer r.Close()
	plain := rec.First
	for n := 0; ; n++ {
		if n%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		seq, record, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return &objectError{err}
		}
		if f.Plain { // it does not tell numbers, but which are missing is known
			for slices.ContainsFunc(rec.Gaps, func(g segment.Range) bool { return g.First <= plain && plain <= g.Last }) {
				plain++
			}
			seq = plain
			plain++
		}
		if err := each(seq, &record); err != nil {
			if errors.Is(err, errRange) {
				return nil
			}
			return err
		}
	}
}
