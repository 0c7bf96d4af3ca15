package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// store is put of any body. Two copies of a volume that are in one epoch use the same keys for different records. A key
// that a copy has taken is left to it, and the object gets another one; any other bytes under the key are a conflict.
func (l *lane) store(ctx context.Context, rec *spool.StageRecord, body *io.SectionReader) (*spool.StageRecord, Receipt, error) {
	r, err := l.storeAs(ctx, rec, body)
	if !errors.Is(err, ErrConflict) {
		return rec, r, err
	}
	// It may be the first sign of another owner, whose manifest tells.
	c := l.cursor()
	if m, perr := l.readNext(ctx, c); perr != nil {
		return rec, r, perr
	} else if m != nil {
		return rec, r, &takenError{m}
	}
	if rec.Spool == c.Spool {
		if taken, terr := l.takenByCopy(ctx, rec); terr != nil {
			return rec, r, terr // no proof of anything: it is tried again
		} else if !taken {
			return rec, r, err
		}
	}
	other := *rec
	other.Key = object.WithHash(rec.Key, rec.RawSHA256)
	l.log.Warn("ship: a copy of this volume has used this key for its own records; storing the object under another key", "key", rec.Key, "instead", other.Key)
	r, err = l.storeAs(ctx, &other, body)
	return &other, r, err
}

// confirm asks whether a segment that was delivered is at the destination: under its own key, or under the one that it got
// because a copy of the volume had used that. It gives no object another key: what is under the key of a delivered one and is
// not what was sent, is damage.
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

// takenByCopy reports whether the object under rec's key is one that a copy of this volume has made: it can be read as
// records with these sequence numbers, and a record in it differs. Damaged or truncated bytes of this spool's own are not. An
// error says that it could not be asked.
func (l *lane) takenByCopy(ctx context.Context, rec *spool.StageRecord) (bool, error) {
	have := l.s.sp.Shelf().Sealed(rec.Segment-1, 1)
	if len(have) == 0 || have[0].Number != rec.Segment {
		return false, nil
	}
	line := segmentLine(rec, Receipt{})
	line.Bytes, line.RawBytes = math.MaxInt64, math.MaxInt64 // how long a copy's records are is not known here
	upTo, err := l.commonUpTo(ctx, &line, &have[0])
	if errors.Is(err, errUnreadable) {
		return false, nil
	}
	return err == nil && upTo < rec.Last, err
}
