package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"strconv"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// store stores body as the object of rec. Two copies of a volume in one epoch use the same keys for different records, and a
// segment that was damaged after its upload is staged again with fewer records. Such an object is left as it is, and this one
// gets another key. Any other bytes under the key are a conflict.
func (l *lane) store(ctx context.Context, rec *spool.StageRecord, body *io.SectionReader) (*spool.StageRecord, Receipt, error) {
	r, err := l.storeAs(ctx, rec, body)
	if !errors.Is(err, ErrConflict) {
		return rec, r, err
	}
	// A taken key may be the first sign of another owner: then its manifest is there.
	c := l.cursor()
	if m, perr := l.readNext(ctx, "owner of segment "+strconv.FormatUint(rec.Segment, 10), c); perr != nil {
		return rec, r, perr
	} else if m != nil {
		return rec, r, &takenError{m}
	}
	by := takenByCopy
	if rec.Spool == c.Spool {
		var terr error
		if by, terr = l.takenBy(ctx, rec); terr != nil {
			return rec, r, terr // this proves nothing: the delivery is retried
		}
	}
	other := *rec
	other.Key = object.WithHash(rec.Key, rec.RawSHA256)
	switch by {
	case takenByOthers:
		return rec, r, err
	case takenByCopy:
		l.log.Warn("ship: a copy of this volume has used this key for its own records; storing the object under another key, so nothing is lost: find out who runs with the copy", "key", rec.Key, "instead", other.Key)
	case takenBeforeDamage:
		l.log.Warn("ship: this segment was uploaded before records in it were damaged on this host, and the object has them still; storing what is left here "+
			"under another key. Keep the first object: it may be the only copy of the damaged records", "key", rec.Key, "instead", other.Key, "damaged", rec.Gaps)
	}
	r, err = l.storeAs(ctx, &other, body)
	return &other, r, err
}

// confirm asks whether the destination has a delivered segment: under its own key, or under the key with a hash that it got
// because its own was taken. confirm gives no object another key: if a delivered object's key holds other bytes than were
// sent, that is damage.
func (l *lane) confirm(ctx context.Context, rec *spool.StageRecord) error {
	at := *rec
	at.Key = object.WithHash(rec.Key, rec.RawSHA256)
	switch _, err := l.dest.Stat(ctx, at.Key); {
	case errors.Is(err, fs.ErrNotExist), IsPermanent(err): // S3 may answer 403 for what is not there
		at.Key = rec.Key
	case err != nil:
		return err
	}
	body, done, err := l.s.sp.Shelf().OpenStaged(rec.Segment)
	if err != nil {
		return fmt.Errorf("opening the staged file of segment %d: %w", rec.Segment, err)
	}
	defer func() { _ = done() }()
	_, err = l.storeAs(ctx, &at, body)
	return err
}

// taker says whose object has taken a key.
type taker int

const (
	takenByOthers     taker = iota // unknown; this includes damaged or truncated bytes of this spool's own
	takenByCopy                    // a copy of this volume: the object has records with these numbers, and one of them differs
	takenBeforeDamage              // this spool, when the segment still had the records that it now lacks
)

// takenBy finds out whose object has taken rec's key. An error means that the destination could not be asked.
func (l *lane) takenBy(ctx context.Context, rec *spool.StageRecord) (taker, error) {
	have := l.s.sp.Shelf().Sealed(rec.Segment-1, 1)
	if len(have) == 0 || have[0].Number != rec.Segment {
		return takenByOthers, nil
	}
	line := segmentLine(rec, Receipt{})
	line.Bytes, line.RawBytes = math.MaxInt64, math.MaxInt64 // how long a copy's records are is not known here
	if len(rec.Gaps) > 0 {
		whole := line
		whole.Gaps, whole.Records = nil, rec.Last-rec.First+1
		by, err := l.compareTaken(ctx, &whole, &have[0], takenBeforeDamage)
		if !errors.Is(err, errUnreadable) {
			return by, err
		}
	}
	by, err := l.compareTaken(ctx, &line, &have[0], takenByOthers)
	if errors.Is(err, errUnreadable) {
		err = nil
	}
	return by, err
}

// compareTaken reads the object under a key as line describes it, and returns same if no record differs from this spool's.
func (l *lane) compareTaken(ctx context.Context, line *SegmentLine, have *spool.Segment, same taker) (taker, error) {
	switch upTo, err := l.commonUpTo(ctx, line, have); {
	case err != nil:
		return takenByOthers, err
	case upTo < line.Last:
		return takenByCopy, nil
	}
	return same, nil
}
