package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// common returns up to which sequence number the object of a line holds the same records as a segment of this spool: the
// segment was being written when the volume was copied, and each of the two went on with other records. Names and numbers
// prove nothing there, so the records themselves are compared.
func (l *lane) common(ctx context.Context, line *SegmentLine, seg *spool.Segment) (uint64, error) {
	if line.First > seg.Last || seg.First > line.Last {
		return seg.First - 1, nil
	}
	if line.Key == "" { // everything in it was damaged there, and nobody can say what it was
		return seg.First - 1, nil
	}
	body, err := l.dest.Open(ctx, line.Key)
	if err != nil {
		return 0, fmt.Errorf("reading %s, to compare its records: %w", line.Key, err)
	}
	defer body.Close()
	src := &sourceReader{r: body}
	content, err := l.s.enc.Decode(src, spool.Encoding{Format: line.Format, Codec: line.Codec, Level: line.Level})
	if err != nil {
		return 0, fmt.Errorf("reading %s, to compare its records: %w", line.Key, err)
	}
	defer content.Close()
	there, err := NewRecordReader(line.Format, io.LimitReader(content, min(line.RawBytes, MaxRaw(line.Format, line.Records, line.Bytes))+1))
	if err != nil {
		return 0, err
	}
	defer there.Close()
	here, done, err := l.records(ctx, seg.Number)
	if err != nil {
		return 0, err
	}
	defer done()
	return prefix(&counted{there, line.First, line.Gaps, line.Format == Lines}, here, seg.First, min(line.Last, seg.Last))
}

// prefix compares two streams of records, and returns the last sequence number before the first difference. A record that
// only one of them has was damaged on the way to the other: it is the same record all the same.
func prefix(there, here interface {
	Next() (uint64, segment.Record, error)
}, first, last uint64,
) (uint64, error) {
	same := first - 1
	seq, a, err := there.Next()
	for err == nil {
		n, b, herr := here.Next()
		if herr != nil {
			err = herr
			break
		}
		for err == nil && seq < n {
			seq, a, err = there.Next()
		}
		if n > last {
			return last, nil
		}
		if err == nil && seq == n && (!bytes.Equal(a.Data, b.Data) || a.Time != 0 && a.Time != b.Time) {
			return same, nil
		}
		same = n
	}
	if errors.Is(err, io.EOF) {
		return last, nil // one of them has ended, and everything before was the same
	}
	return 0, err
}

// counted gives the records of Lines, which tell no numbers, those that their line says.
type counted struct {
	RecordReader
	next  uint64
	gaps  []segment.Range
	lines bool
}

func (c *counted) Next() (uint64, segment.Record, error) {
	seq, rec, err := c.RecordReader.Next()
	if err != nil || !c.lines {
		return seq, rec, err
	}
	for len(c.gaps) > 0 && c.next >= c.gaps[0].First {
		c.next = max(c.next, c.gaps[0].Last+1)
		c.gaps = c.gaps[1:]
	}
	c.next++
	return c.next - 1, rec, nil
}

// sound skips what is damaged.
type sound struct{ r *segment.Reader }

func (s sound) Next() (uint64, segment.Record, error) {
	for {
		seq, rec, err := s.r.Next()
		if asDamage(err) == nil {
			return seq, rec, err
		}
	}
}

// records reads a sealed segment of this spool, from its own file or, if that was given up, from the staged one.
func (l *lane) records(ctx context.Context, number uint64) (interface {
	Next() (uint64, segment.Record, error)
}, func(), error,
) {
	raw, done, err := l.s.sp.ReadSealed(number)
	if err == nil {
		return sound{raw}, func() { _ = done() }, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	rec, err := l.s.stage(ctx, number)
	if err != nil {
		return nil, nil, err
	}
	staged, done, err := l.s.sp.OpenStaged(number)
	if err != nil {
		return nil, nil, err
	}
	content, err := l.s.enc.Decode(staged, rec.Encoding)
	if err != nil {
		return nil, nil, errors.Join(err, done())
	}
	r, err := NewRecordReader(rec.Format, content)
	if err != nil {
		return nil, nil, errors.Join(err, content.Close(), done())
	}
	return &counted{r, rec.First, rec.Gaps, rec.Format == Lines}, func() { _, _, _ = r.Close(), content.Close(), done() }, nil
}

// each calls put for all records of a segment.
func (l *lane) each(ctx context.Context, number uint64, put spool.Put) error {
	r, done, err := l.records(ctx, number)
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
