package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"sync"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
)

// A segment is staged again if its stage record or staged file is lost after one place has received it: it was damaged, the volume
// was restored from a snapshot, or another adopter continues. If the settings or the build have changed since, the other place gets the same
// records in other bytes, and under a key with another ending. The line at the first place stays as it was, so the two lines differ
// although nothing is missing. A forger would write such a line too, so it is the objects that decide, and both are read. Such pairs
// are rare: only segments that were on their way at that time are concerned.

// restaged is a pair of lines about one segment that may have been staged again. difference is what to report if the objects do not
// have the same records.
type restaged struct {
	difference
	x, y stored
}

// comparing bounds how many pairs are compared record by record at the same time, and so the memory: see comparedAtOnce.
var comparing = make(chan struct{}, 4)

// maxRestaged is how many pairs are compared at the same time. Their lines are kept in memory until then.
const maxRestaged = 64

// mayBeRestaged reports whether two lines state the same records of one segment, so that only the encoding and the stored bytes may
// differ.
func mayBeRestaged(extra format.Extra, x, y *ship.SegmentLine) bool {
	return x.Records > 0 && x.First == y.First && x.Last == y.Last && x.Records == y.Records && x.Bytes == y.Bytes && x.MinTime.Equal(y.MinTime) &&
		x.MaxTime.Equal(y.MaxTime) && reflect.DeepEqual(x.Gaps, y.Gaps) && reflect.DeepEqual(x.Whole, y.Whole) && object.SameRecords(x.Key, y.Key) &&
		(sameContent(x, y) || x.Format != y.Format || !isCanonical(extra, x))
}

// sameContent reports whether two lines state the same uncompressed content.
func sameContent(x, y *ship.SegmentLine) bool {
	return x.Format == y.Format && x.RawBytes == y.RawBytes && x.RawSHA256 == y.RawSHA256
}

// sameBytes reports whether two lines state the same stored bytes, although the settings that they were made with differ.
func sameBytes(x, y *ship.SegmentLine) bool {
	return x.Codec == y.Codec && x.Size == y.Size && x.SHA256 == y.SHA256 && x.CRC64NVME == y.CRC64NVME
}

// doubt keeps a pair until settle compares its objects. It reports false if the two places contradict each other whatever the objects
// are.
func (s *side) doubt(o *Options, d *difference) bool {
	x, y := &d.a.step, &d.b.step
	if !d.b.more || x.segment != y.segment || x.line == nil || y.line == nil || !reflect.DeepEqual(x.loss, y.loss) || !mayBeRestaged(o.Extra, x.line, y.line) {
		return false
	}
	if sameContent(x.line, y.line) && (o.Deep || sameBytes(x.line, y.line)) {
		return true // each object is compared with its own line: if its bytes or its content are others, it is reported itself
	}
	if !o.Hour.IsZero() && !(span{from: d.from, to: d.to}).has(object.HourOf(o.Hour)) || x.line.MaxTime.Before(o.Since) {
		return true // objects of other hours are not judged, and old ones may have been deleted
	}
	a, b := *x.line, *y.line // copies, so that the manifests can be freed
	s.doubts = append(s.doubts, restaged{*d, stored{d.a.p, &a}, stored{d.b.p, &b}})
	return true
}

// settle compares the objects of the pairs that are in doubt. In a divided group, nothing is reported about such pairs: see match.go.
func (g *group) settle(ctx context.Context, s *side) {
	doubts := s.doubts
	s.doubts = nil
	if g.isDivided() {
		return
	}
	var wg sync.WaitGroup
	for i := range doubts {
		wg.Go(func() { g.a.check(g.a.settle(ctx, &doubts[i])) })
	}
	wg.Wait()
	for _, d := range doubts {
		if d.what != "" {
			s.diffs = g.a.withDifference(s.diffs, d.difference)
		}
	}
}

const incomparable = "another place has this segment in other bytes, and this object cannot be compared with them: "

// settle compares the objects of a pair. Unless they are found to have the same records, it sets d.what, or reports that they cannot be
// compared.
func (a *auditor) settle(ctx context.Context, d *restaged) error {
	what := d.what
	d.what = ""
	at, err := d.x, d.x.hasContent(ctx)
	if err == nil {
		at, err = d.y, d.y.hasContent(ctx)
	}
	if err == nil && !sameContent(d.x.line, d.y.line) {
		err = d.sameRecords(ctx)
	}
	if err == nil {
		return nil
	}
	k, _ := object.ParseKey(at.line.Key)
	f := Finding{
		Place: at.p.name, Class: d.a.id.Class, Spool: d.a.id.Spool, Epoch: k.Epoch, First: d.first, Last: d.last, Key: at.line.Key,
		Detail: incomparable + errText(err),
	}
	switch {
	case errors.Is(err, errOtherRecords), errors.Is(err, fs.ErrNotExist):
		d.what = what
	case errors.Is(err, ship.ErrVerify):
		d.what = fmt.Sprintf("%s; the content of %s at %s is not that of its line", what, at.line.Key, at.p.name)
	case errors.Is(err, errNotUnderstood):
		f.Code = NotUnderstood
		a.rec.add(f)
	case errors.Is(err, errUnread):
		a.reportUnread(f, incomparable, err)
	default:
		return err
	}
	return nil
}

// errOtherRecords is the answer to a comparison of records. It wraps ship.ErrVerify, so that memory.examined keeps it for a while.
var errOtherRecords = fmt.Errorf("%w: the two objects have different records", ship.ErrVerify)

// hasContent reads an object, and compares its bytes and its records with its line.
func (s stored) hasContent(ctx context.Context) error {
	_, line := hashLine(s.line)
	if s.p.o.Deep && s.p.kept.isRight(s.line.Key, line) {
		return nil
	}
	return s.p.kept.examinedFor(contentOfObject+s.line.Key, line, func() error {
		return s.p.requestOf(ctx, s.line.Key, func(ctx context.Context) error { return s.p.read(ctx, s.line) })
	})
}

// sameRecords compares two objects that both have as many records of the segment as their lines say. What is remembered of the
// comparison is named by the hashes of what was compared.
func (d *restaged) sameRecords(ctx context.Context) error {
	x, y := d.x, d.y
	select { // each comparison keeps the hashes of all records of a segment
	case comparing <- struct{}{}:
		defer func() { <-comparing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	what := fmt.Sprintf("alike %s %s %s %s %s %s", x.line.Key, x.line.Format, x.line.RawSHA256, y.line.Key, y.line.Format, y.line.RawSHA256)
	return x.p.kept.examined(what, func() error {
		lost, all, err := x.unfound(ctx, x.line.First, x.line.Last, []stored{y}, true)
		if err == nil && (!all || lost.last != 0) {
			err = errOtherRecords
		}
		return err
	})
}
