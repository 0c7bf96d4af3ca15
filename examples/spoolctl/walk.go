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
	Files   []string `json:"files,omitempty"` // files that may contain some of them
}

func (m *missing) String() string {
	s := fmt.Sprintf("records %s are missing: %s", span(m.First, m.Last), m.Why)
	for _, f := range m.Files {
		s += "; see " + f
	}
	return s
}

// walker walks through the records of a spool in order. It reads segment files and, where these are gone or damaged, staged
// files.
type walker struct {
	d        *spool.Directory
	segments []*spool.SegmentFile // in the order of their records
	filter   *filter
	// each is called for every record that passes the filter, and miss for every missing range between records. An error ends
	// the walk.
	each func(s *spool.SegmentFile, seq uint64, rec *segment.Record) error
	miss func(m missing)
	// read is called for each segment after it was read.
	read func(s *spool.SegmentFile)
	// damaged are the files in damaged/, for records that are in no other file.
	damaged []*spool.SegmentFile

	next uint64 // the next sequence number, 0 before the first segment
}

// errEnough ends a walk.
var errEnough = errors.New("enough")

// run walks. It returns an error of each, except errEnough, or of ctx.
func (w *walker) run(ctx context.Context) error {
	owed := firstOwed(later(w.d))
	for _, s := range w.segments {
		if err := ctx.Err(); err != nil {
			return err
		}
		if s.State == spool.SegmentBlank || s.First == 0 {
			continue // the next segment shows which records are missing here
		}
		if s.State == spool.SegmentUnreadable {
			continue
		}
		if w.next == 0 && owed < s.First {
			w.next = owed // records that some destination lacks cannot have been deleted
		}
		if w.next > 0 && s.First > w.next {
			if err := w.lost(ctx, s.Number-1, w.next, s.First-1, "no file contains them"); err != nil {
				return ended(err)
			}
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
			return ended(err)
		}
		if w.read != nil {
			w.read(s)
		}
	}
	if w.next == 0 {
		w.next = owed
	}
	if w.next > 0 && !w.d.Open && w.d.Next > w.next {
		return ended(w.lost(ctx, w.d.Newest, w.next, w.d.Next-1, "they were written, but no file contains them"))
	}
	return nil
}

// later reads the directory again after its segments were listed: records that a process deleted in between were delivered
// before.
func later(d *spool.Directory) *spool.Directory {
	if d.Open {
		if now, err := spool.ReadDirectory(d.Dir); err == nil {
			return now
		}
	}
	return d
}

// firstOwed returns the first record that some destination lacks, 0 if unknown.
func firstOwed(d *spool.Directory) (seq uint64) {
	for _, x := range d.Destinations {
		if x.Forgotten {
			continue
		}
		if x.Chain.Epoch == 0 {
			return 0 // the state of this destination cannot be read
		}
		next := max(x.Chain.Through+1, x.Chain.Joined)
		if seq == 0 || next < seq {
			seq = next
		}
	}
	return seq
}

// ended converts the error of a walk: it is nil if each returned errEnough.
func ended(err error) error {
	if errors.Is(err, errEnough) {
		return nil
	}
	return err
}

// lost reports missing records, except those that the filter excludes or a file in damaged/ contains; the latter it passes on.
func (w *walker) lost(ctx context.Context, number, first, last uint64, why string) error {
	for _, s := range w.damaged {
		if err := w.fromDamaged(ctx, s, number, first, last, why); err != nil {
			return err
		}
		first = max(first, w.next)
	}
	w.tell(number, first, last, why)
	return nil
}

// fromDamaged passes on the records of a range that a file in damaged/ contains.
func (w *walker) fromDamaged(ctx context.Context, s *spool.SegmentFile, number, first, last uint64, why string) error {
	if s.First > last || first > last {
		return nil
	}
	pass := func(seq uint64, rec *segment.Record) error {
		switch {
		case seq < max(first, w.next):
			return nil
		case seq > last:
			return errRange
		}
		w.tell(number, max(first, w.next), seq-1, why)
		return w.pass(s, seq, rec)
	}
	if s.Path == "" {
		body, closer, err := w.d.OpenFile(s.Object)
		if err != nil {
			return nil
		}
		defer closer.Close()
		rec := s.Record
		if rec == nil {
			if rec = guessRecord(body, w.d.Spool); rec == nil {
				return nil
			}
		}
		err = readObject(ctx, body, rec, pass)
		if _, bad := errors.AsType[*objectError](err); bad {
			return nil
		}
		return err
	}
	r, err := s.Open()
	if err != nil {
		return nil
	}
	defer r.Close()
	for ctx.Err() == nil {
		seq, rec, err := r.Next()
		if _, damaged := errors.AsType[*segment.DamageError](err); damaged {
			continue
		}
		if err != nil {
			return nil // the end, or a read error
		}
		if err := pass(seq, &rec); errors.Is(err, errRange) {
			return nil
		} else if err != nil {
			return err
		}
	}
	return ctx.Err()
}

// tell reports missing records.
func (w *walker) tell(number, first, last uint64, why string) {
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

// pass passes a record on, unless it already was: overlapping files contain the same records.
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

// staged reads a range of records from the staged file of a segment. why says why its own file does not have them.
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
		if err := w.lost(ctx, s.Number, w.next, last, why); err != nil {
			return err
		}
		if last != segment.Unbounded {
			w.next = last + 1
		}
	}
	return nil
}

// objectError means that the rest of a staged file cannot be read.
type objectError struct{ err error }

func (e *objectError) Error() string { return "the staged file: " + e.err.Error() }
func (e *objectError) Unwrap() error { return e.err }

// fromObject passes on the records of a range that a staged file contains.
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
			if err := w.lost(ctx, s.Number, w.next, seq-1, "they are missing in the staged file"); err != nil {
				return err
			}
		}
		return w.pass(s, seq, r)
	})
}

// guessRecord finds the encoding of a staged file without a stage record; nil if the file is not NDJSON of this spool.
func guessRecord(body io.ReadSeeker, id string) *spool.StageRecord {
	for _, name := range compress.Names() {
		codec, err := compress.ByName(name)
		if err != nil {
			continue
		}
		if ndjsonOf(codec, body, id) {
			rec := &spool.StageRecord{RawBytes: 1 << 40} // the length is unknown, and the file is read record by record
			rec.Format, rec.Codec = format.NDJSON, name
			return rec
		}
	}
	return nil
}

// ndjsonOf reports whether a file begins with a record of a spool. It resets the read position.
func ndjsonOf(codec compress.Codec, body io.ReadSeeker, id string) bool {
	defer func() { _, _ = body.Seek(0, io.SeekStart) }()
	raw, err := codec.NewReader(body)
	if err != nil {
		return false
	}
	defer raw.Close()
	r, err := format.NewReader(format.NDJSON, raw)
	if err != nil {
		return false
	}
	defer r.Close()
	_, _, err = r.Next()
	return err == nil && r.Spool() == id
}

// errRange ends the reading of a staged file after the requested range.
var errRange = errors.New("after the range")

// readObject calls each with the records of a staged file. It returns an error of each, or an *objectError.
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
	r, err := f.NewReader(io.LimitReader(raw, rec.RawBytes+1)) // no more than was staged: a hostile file may decompress to any size
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
		if f.Plain { // the format has no sequence numbers, but the missing ones are known
			for _, g := range rec.Gaps { // in ascending order
				if g.First <= plain && plain <= g.Last && g.Last != segment.Unbounded {
					plain = g.Last + 1
				}
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
