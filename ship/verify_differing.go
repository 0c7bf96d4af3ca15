package ship

import (
	"context"
	"errors"
	"io/fs"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// If records of a segment are damaged here after its delivery to one destination, and the stage record is lost, the segment is staged
// again with fewer records for the other destinations. The first one still has the object of before, which is right, and is not
// what this spool would send now; nor is an object that takenAsOwn describes. A mismatch would freeze the spool permanently: nobody can correct it there.

// differing is a segment whose object is not what this spool would send now.
type differing struct {
	rec *spool.StageRecord // what it would send
	err error              // the difference
}

// noteDiffering remembers a segment for checkDiffering, which needs the lines of the chain.
func (v *verifier) noteDiffering(rec *spool.StageRecord, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.differing == nil {
		v.differing = map[uint64]differing{}
	}
	v.differing[rec.Segment] = differing{rec, err}
}

// checkDiffering asks whether the destination has all that is left here of a segment, in an object that is right. What it does
// not settle stays in v.differing, and is a mismatch.
func (v *verifier) checkDiffering(ctx context.Context, rec *spool.StageRecord) error {
	settle := func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.differing, rec.Segment)
	}
	return v.retry(ctx, func() error {
		have := v.l.s.sp.Shelf().Sealed(rec.Segment-1, 1)
		if len(have) == 0 || have[0].Number != rec.Segment { // deleted meanwhile
			settle()
			return nil
		}
		key, err := v.keyOfMore(ctx, rec, &have[0])
		if err != nil || key == "" {
			return err
		}
		v.l.log.Warn("ship: this object was delivered before records in it were damaged on this host, or in another form, and has all records that are left here: "+
			"keep it, it may be the only copy of the damaged records", "key", key, "segment", rec.Segment, "damaged", rec.Gaps)
		settle()
		v.noteObject(key)
		return nil
	})
}

// keyOfMore returns the key of an object that has every record of a segment that is left here, and is what the chain's line of
// the segment states; "" if there is none. The line alone proves nothing, see sameSegment: it may state a record as damaged
// that can be read here. If the line is in an epoch too old to be read, the object must have all records of the segment.
func (v *verifier) keyOfMore(ctx context.Context, rec *spool.StageRecord, seg *spool.Segment) (string, error) {
	line := v.lines[rec.Segment]
	switch {
	case line == nil:
		by, err := v.l.takenBy(ctx, rec, new(contents))
		if by != takenBeforeDamage && by != takenAsOwn {
			return "", err
		}
		return rec.Key, err
	case line.First != seg.First, line.Last != seg.Last, line.RawSHA256 == rec.RawSHA256:
		return "", nil
	}
	stated := &spool.StageRecord{Key: line.Key, Encoding: line.Encoding(), Size: line.Size, RawBytes: line.RawBytes, RawSHA256: line.RawSHA256}
	_, same, err := v.l.compare(ctx, stated)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrVerify) || err == nil && !same {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	upTo, err := v.l.commonUpTo(ctx, line, seg)
	if errors.Is(err, errUnreadable) || err == nil && upTo < seg.Last {
		return "", nil
	}
	return line.Key, err
}

// readsAsRecorded compares the object, read back, with the stage record. It is needed if the spool has no room for a staged
// file. It reports whether there is an answer: the object is the segment, or certainly is not.
func (v *verifier) readsAsRecorded(ctx context.Context, number uint64) bool {
	rec, err := v.l.s.sp.Shelf().StageRecord(number)
	if err != nil {
		return false
	}
	renamed := *rec
	renamed.Key = object.WithHash(rec.Key, rec.RawSHA256)
	there, differs := Object{}, false // of the object under the segment's own key
	for _, at := range []*spool.StageRecord{&renamed, rec} {
		o, same, err := v.l.compare(ctx, at)
		if err == nil && same {
			v.noteObject(at.Key)
			return true
		}
		there, differs = o, err == nil
	}
	if !differs {
		return false
	}
	conflict := v.l.confirmConflict(ctx, rec, there, ErrConflict)
	if !errors.Is(conflict, ErrConflict) {
		return false
	}
	v.noteDiffering(rec, conflict)
	return true
}
