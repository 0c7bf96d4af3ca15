package ship

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// commonUpTo returns the sequence number up to which the object of a line holds the same records as a segment of this spool.
// If the segment was being written when the volume was copied, both copies continued it with other records. Keys and numbers
// prove nothing then, so the records themselves are compared. If the error wraps errUnreadable, the object is gone or
// damaged, and upTo is how far it could be read and was the same.
func (l *lane) commonUpTo(ctx context.Context, line *SegmentLine, seg *spool.Segment) (upTo uint64, err error) {
	return l.compareRecords(ctx, line, seg, nil)
}

// contents are the digests of an object's bytes and of its content.
type contents struct{ stored, content *Digest }

// compareRecords is commonUpTo. If sums is not nil, and the object has exactly the records of the line, sums gets the digests of what was
// compared: a second reading might return other bytes.
func (l *lane) compareRecords(ctx context.Context, line *SegmentLine, seg *spool.Segment, sums *contents) (upTo uint64, err error) {
	if line.First > seg.Last || seg.First > line.Last {
		return seg.First - 1, nil
	}
	if line.Key == "" { // all its records were damaged there, so there is nothing to compare
		return seg.First - 1, nil
	}
	body, err := l.dest.Open(ctx, line.Key)
	if errors.Is(err, fs.ErrNotExist) {
		return seg.First - 1, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if err != nil {
		return 0, fmt.Errorf("reading %s, to compare its records: %w", line.Key, err)
	}
	defer body.Close()
	src := &sourceReader{r: body}
	if sums != nil {
		*sums = contents{NewDigest(), NewDigest()}
		src.r = io.TeeReader(body, sums.stored)
	}
	decoded, err := l.s.enc.Decode(src, line.Encoding())
	if err != nil {
		return seg.First - 1, unreadable(ctx, src, err)
	}
	defer decoded.Close()
	f, err := l.s.o.Extra.Format(line.Format)
	if err != nil {
		return seg.First - 1, unreadable(ctx, src, err)
	}
	most := min(line.RawBytes, f.MaxRaw(line.Records, line.Bytes))
	content := io.LimitReader(decoded, most+1)
	if sums != nil {
		content = io.TeeReader(content, sums.content)
	}
	there, err := f.NewReader(content)
	if err != nil {
		return seg.First - 1, unreadable(ctx, src, err)
	}
	defer there.Close()
	first, last := max(line.First, seg.First), min(line.Last, seg.Last)
	here, err := l.openOwn(ctx, seg, first)
	if err != nil {
		return 0, err
	}
	defer here.close()
	whole := &complete{next: there, plain: f.Plain, seq: line.First, last: line.Last, gaps: line.Gaps}
	upTo, err = prefix(whole, here, first, last, f.Plain)
	if err == nil && upTo == last {
		err = whole.finish() // it may be cut off after the compared records
	}
	if err == nil && upTo == last && sums != nil {
		if err = sums.finish(content, src, most); err == nil && !belongs(there, line.Key) {
			err = fmt.Errorf("%w: it says that it is of spool %s", format.ErrCorrupt, there.Spool())
		}
		if err != nil {
			return upTo, unreadable(ctx, src, err)
		}
	}
	if whole.err != nil && whole.err != io.EOF {
		err = unreadable(ctx, src, whole.err)
	}
	return upTo, err
}

// finish reads what a format's reader has not read: it is part of the object, too.
func (c *contents) finish(content io.Reader, src *sourceReader, most int64) error {
	if _, err := io.Copy(io.Discard, content); err != nil {
		return err
	}
	if c.content.size > most {
		return fmt.Errorf("%w: more than %d bytes", format.ErrCorrupt, most)
	}
	_, err := io.Copy(io.Discard, src)
	return err
}

// belongs reports whether an object is of the spool in its key, as far as the object says of which it is.
func belongs(r format.Reader, key string) bool {
	k, ok := object.ParseKey(key)
	return ok && (r.Spool() == "" || r.Spool() == k.Spool)
}

// errUnreadable: the object under a key is gone or is not what was stored there, and no later attempt will change that.
var errUnreadable = errors.New("the object is gone or damaged")

// unreadable classifies an error of reading an object: the object is damaged, and the error wraps errUnreadable, unless the
// destination failed, ctx has ended, or a temporary file of this process failed.
func unreadable(ctx context.Context, src *sourceReader, err error) error {
	_, local := errors.AsType[*fs.PathError](err)
	if src.err != nil && !errors.Is(src.err, ErrVerify) || ctx.Err() != nil || local {
		return errors.Join(err, src.err)
	}
	return fmt.Errorf("%w: %w", errUnreadable, errors.Join(err, src.err))
}

// complete returns an error if an object does not have exactly the records that its line states: Lines and NDJSON do not show
// that they were cut between two records. The records of a plain format have no sequence numbers; complete gives them those
// of the line.
type complete struct {
	next interface {
		Next() (uint64, segment.Record, error)
	}
	plain     bool
	seq, last uint64 // of the records that are still to come
	gaps      []segment.Range
	err       error // why no more can be read, io.EOF at the end of a complete object
}

func (c *complete) Next() (uint64, segment.Record, error) {
	if c.err != nil {
		return 0, segment.Record{}, c.err
	}
	for len(c.gaps) > 0 && c.seq >= c.gaps[0].First {
		c.seq, c.gaps = max(c.seq, c.gaps[0].Last+1), c.gaps[1:]
	}
	seq, rec, err := c.next.Next()
	if err == nil && c.plain {
		seq = c.seq
	}
	switch {
	case err == nil && seq == c.seq && seq <= c.last:
		c.seq++
		return seq, rec, nil
	case err == nil:
		err = fmt.Errorf("%w: record %d, which its manifest does not state there", format.ErrCorrupt, seq)
	case errors.Is(err, io.EOF) && c.seq <= c.last:
		err = fmt.Errorf("%w: it ends before record %d, its manifest states records up to %d", format.ErrCorrupt, c.seq, c.last)
	case errors.Is(err, io.EOF):
		err = io.EOF
	}
	c.err = err
	return 0, rec, err
}

// finish checks the remaining records.
func (c *complete) finish() (err error) {
	for err == nil {
		_, _, err = c.Next()
	}
	if err == io.EOF {
		return nil
	}
	return err
}

// confirmCommonUpTo is commonUpTo for another owner's manifest. An object that is gone or damaged must not stop this spool's
// deliveries: records that cannot be compared count as different, and are delivered under the next identity. That is final,
// so proveGenuine must succeed first, and the object must be unreadable twice.
func (l *lane) confirmCommonUpTo(ctx context.Context, line *SegmentLine, seg *spool.Segment) (uint64, error) {
	first, err := l.commonUpTo(ctx, line, seg)
	if !errors.Is(err, errUnreadable) {
		return first, err
	}
	if err := l.proveGenuine(ctx); err != nil {
		return 0, err
	}
	upTo, err := l.commonUpTo(ctx, line, seg)
	if !errors.Is(err, errUnreadable) {
		return upTo, err
	}
	upTo = min(first, upTo)
	l.log.Error("ship: cannot compare another owner's object with the records of this spool; the records after it may be delivered twice",
		"key", line.Key, "segment", seg.Number, "in_common_up_to", upTo, "err", err)
	return upTo, nil
}

// prefix compares two streams of records, and returns the last sequence number before the first difference. A record that is
// only there was damaged here; since the chain has it, it is no difference. A record that is only here is a difference, since
// the chain does not have it, even if its line lists it as damaged.
func prefix(there, here interface {
	Next() (uint64, segment.Record, error)
}, first, last uint64, plain bool,
) (uint64, error) {
	differ := func(a, b *segment.Record) bool {
		if plain { // Lines cannot show a newline at the end of a payload
			return !bytes.Equal(bytes.TrimSuffix(a.Data, []byte("\n")), bytes.TrimSuffix(b.Data, []byte("\n")))
		}
		return a.Time != b.Time || a.Src != b.Src || !a.Attrs.Equal(b.Attrs) || !bytes.Equal(a.Data, b.Data)
	}
	same := first - 1
	seq, a, err := there.Next()
	for {
		n, b, herr := here.Next()
		switch {
		case errors.Is(herr, io.EOF) || herr == nil && n > last:
			return last, nil
		case herr != nil:
			return same, herr
		}
		for err == nil && seq < n {
			seq, a, err = there.Next()
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return same, err // the next record there is unknown
		}
		if err != nil || seq != n || differ(&a, &b) {
			return same, nil
		}
		same = n
	}
}

// counted gives the records of a plain format, which have no sequence numbers, those of their stage record.
type counted struct {
	format.Reader
	next  uint64
	gaps  []segment.Range
	plain bool
}

func (c *counted) Next() (uint64, segment.Record, error) {
	seq, rec, err := c.Reader.Next()
	if err != nil || !c.plain {
		return seq, rec, err
	}
	for len(c.gaps) > 0 && c.next >= c.gaps[0].First {
		c.next = max(c.next, c.gaps[0].Last+1)
		c.gaps = c.gaps[1:]
	}
	c.next++
	return c.next - 1, rec, nil
}
