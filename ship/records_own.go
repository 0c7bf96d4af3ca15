package ship

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// recordReader reads the records of a segment; io.EOF after the last.
type recordReader interface {
	Next() (uint64, segment.Record, error)
}

// ownRecords reads the undamaged records of a sealed segment of this spool. It reads the segment's own file, which has times
// and attributes whatever the format of the objects, and turns to the staged file once the own file does not return records
// that the spool counts as sound.
//
// The own file may be gone, may have damage that was not detected yet, or the disk may permanently refuse to read parts of
// it. Staging decides all these cases for every destination: it retries for a while, then records the damage, and the staged
// file has what is left. If ownRecords only returned the error, the destination would be stopped for as long as the disk
// refuses. If it skipped the records, they would count as delivered, although an earlier staged file may have all of them.
type ownRecords struct {
	l      *lane
	ctx    context.Context
	seg    *spool.Segment
	next   uint64          // records below it were returned
	raw    *segment.Reader // nil if the staged file is read
	staged recordReader
	done   func() // closes what is open
}

var _ recordReader = (*ownRecords)(nil)

// openOwn reads the records of a segment from a sequence number on.
func (l *lane) openOwn(ctx context.Context, seg *spool.Segment, from uint64) (*ownRecords, error) {
	o := &ownRecords{l: l, ctx: ctx, seg: seg, next: from, done: func() {}}
	raw, done, err := l.s.sp.Shelf().ReadSealed(seg.Number)
	if err == nil {
		o.raw, o.done = raw, func() { _ = done() }
		err = raw.Seek(from)
	}
	if err != nil {
		err = o.turnToStaged(err)
	}
	if err != nil {
		return nil, err
	}
	return o, nil
}

func (o *ownRecords) close() { o.done() }

// turnToStaged continues with the staged file after an error of the own file. Until staging has decided, it returns the error
// of staging: the caller then retries, and staging counts these attempts.
func (o *ownRecords) turnToStaged(own error) error {
	o.done()
	o.raw, o.done = nil, func() {}
	staged, done, err := o.l.openStaged(o.ctx, o.seg.Number)
	if err != nil {
		return fmt.Errorf("%w (the segment's own file: %v)", err, own)
	}
	o.staged, o.done = staged, done
	return nil
}

// Next implements recordReader.
func (o *ownRecords) Next() (uint64, segment.Record, error) {
	for o.raw != nil {
		seq, rec, err := o.raw.Next()
		damage, damaged := errors.AsType[*segment.DamageError](err)
		switch {
		case err == nil:
			o.next = seq + 1
			return seq, rec, nil
		case errors.Is(err, io.EOF):
			return 0, rec, err
		case damaged && o.onRecord(damage):
			continue
		}
		if err := o.turnToStaged(err); err != nil {
			return 0, segment.Record{}, err
		}
	}
	if o.staged == nil {
		return 0, segment.Record{}, io.ErrUnexpectedEOF // it was called again after an error
	}
	for {
		seq, rec, err := o.staged.Next()
		if err != nil || seq >= o.next {
			return seq, rec, err
		}
	}
}

// onRecord reports whether the spool has recorded these records as damaged: then no other file here has them.
func (o *ownRecords) onRecord(d *segment.DamageError) bool {
	if d.Last < d.First {
		return true // no records
	}
	for _, gap := range o.seg.Gaps {
		if gap.First <= d.First && d.Last <= gap.Last {
			return true
		}
	}
	return false
}

// openStaged reads the staged file of a segment.
func (l *lane) openStaged(ctx context.Context, number uint64) (recordReader, func(), error) {
	rec, err := l.s.stage(ctx, number)
	if err != nil {
		return nil, nil, err
	}
	staged, done, err := l.s.sp.Shelf().OpenStaged(number)
	if err != nil {
		return nil, nil, err
	}
	doubt := func(err error) error { // otherwise the next attempt would find the same file, and the same error
		l.s.sp.Shelf().Doubt(number)
		return err
	}
	content, err := l.s.enc.Decode(staged, rec.Encoding)
	if err != nil {
		return nil, nil, errors.Join(doubt(err), done())
	}
	f, err := l.s.o.Extra.Format(rec.Format)
	if err != nil {
		return nil, nil, errors.Join(err, content.Close(), done())
	}
	r, err := f.NewReader(content)
	if err != nil {
		return nil, nil, errors.Join(doubt(err), content.Close(), done())
	}
	records := doubted{&counted{r, rec.First, rec.Gaps, f.Plain}, doubt}
	return records, func() { _, _, _ = r.Close(), content.Close(), done() }, nil
}

// doubted calls doubt if the staged file cannot be read to its end: the spool then checks the whole file before it is used
// again.
type doubted struct {
	recordReader
	doubt func(error) error
}

func (d doubted) Next() (uint64, segment.Record, error) {
	seq, rec, err := d.recordReader.Next()
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.doubt(err)
	}
	return seq, rec, err
}

// eachStaged calls put for all records in the staged file of a segment.
func (l *lane) eachStaged(ctx context.Context, number uint64, put func(uint64, *segment.Record) error) error {
	r, done, err := l.openStaged(ctx, number)
	if err != nil {
		return err
	}
	defer done()
	for {
		seq, rec, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = put(seq, &rec)
		}
		if err != nil {
			return err
		}
	}
}
