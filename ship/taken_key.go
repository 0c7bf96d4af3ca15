package ship

import (
	"context"
	"encoding/hex"
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
// gets another key. If the object has exactly the records of this one, it is the delivery, see takenAsOwn. Any other bytes under the
// key are a conflict.
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
	var there contents
	if rec.Spool == c.Spool {
		var terr error
		if by, terr = l.takenBy(ctx, rec, &there); terr != nil {
			return rec, r, terr // this proves nothing: the delivery is retried
		}
	}
	other := *rec
	other.Key = object.WithHash(rec.Key, rec.RawSHA256)
	switch by {
	case takenByOthers:
		return rec, r, err
	case takenAsOwn:
		return l.takeAsOwn(ctx, rec, &there)
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
	// takenAsOwn: this spool before its volume was restored, or a copy of the volume. The object has exactly the same records. A format that
	// is not canonical contains more than those: Native has what the segment knew of losses when it was sealed, and a segment that was
	// active in a snapshot is sealed a second time, after a sudden end.
	takenAsOwn
)

// takenBy finds out whose object has taken rec's key. If it is takenAsOwn, there describes the object. An error means that the destination
// could not be asked.
func (l *lane) takenBy(ctx context.Context, rec *spool.StageRecord, there *contents) (taker, error) {
	have := l.s.sp.Shelf().Sealed(rec.Segment-1, 1)
	if len(have) == 0 || have[0].Number != rec.Segment {
		return takenByOthers, nil
	}
	line := segmentLine(rec, Receipt{})
	line.Bytes, line.RawBytes = math.MaxInt64, math.MaxInt64 // how long a copy's records are is not known here
	if len(rec.Gaps) > 0 {
		whole := line
		whole.Gaps, whole.Records = nil, rec.Last-rec.First+1
		by, err := l.compareTaken(ctx, &whole, &have[0], takenBeforeDamage, nil)
		if !errors.Is(err, errUnreadable) {
			return by, err
		}
	}
	same := takenByOthers // in a canonical format the same records have the same bytes: what else is there is somebody's work
	if f, err := l.s.o.Extra.Format(rec.Format); err == nil && !f.Canonical && !f.Plain {
		same = takenAsOwn
	}
	by, err := l.compareTaken(ctx, &line, &have[0], same, there)
	if errors.Is(err, errUnreadable) {
		err = nil
	}
	return by, err
}

// takeAsOwn returns the record and the receipt of the object under rec's key, which has exactly rec's records. To store them a second time
// under another key would leave an object that no manifest names, and a reader of the folder would find each record twice. The line
// describes the object, not the staged file. As in resolveConflict, the receipt is what the destination reports.
func (l *lane) takeAsOwn(ctx context.Context, rec *spool.StageRecord, there *contents) (*spool.StageRecord, Receipt, error) {
	var o, content Object
	there.stored.Sum(&o)
	there.content.Sum(&content)
	o.Key = rec.Key
	r, err := l.dest.Stat(ctx, rec.Key)
	if err != nil {
		return rec, r, err
	}
	if r.Checksum == "" {
		r.Size, r.Checksum, r.Method = o.Size, SHA256Checksum(o.SHA256), "read-back"
	}
	if err := o.Check(r); err != nil {
		return rec, r, err
	}
	l.log.Warn("ship: this segment is there already with exactly the same records, and was uploaded by a copy of this volume, or before the volume was restored; the manifest names that object, "+
		"and nothing is lost or stored twice: find out whether a copy runs", "key", rec.Key, "segment", rec.Segment)
	own := *rec
	own.RawBytes, own.RawSHA256 = content.Size, hex.EncodeToString(content.SHA256[:])
	own.Size, own.SHA256, own.CRC64NVME = o.Size, hex.EncodeToString(o.SHA256[:]), fmt.Sprintf("%016x", o.CRC64NVME)
	return &own, r, nil
}

// compareTaken reads the object under a key as line describes it, and returns same if no record differs from this spool's.
func (l *lane) compareTaken(ctx context.Context, line *SegmentLine, have *spool.Segment, same taker, there *contents) (taker, error) {
	switch upTo, err := l.compareRecords(ctx, line, have, there); {
	case err != nil:
		return takenByOthers, err
	case upTo < line.Last:
		return takenByCopy, nil
	}
	return same, nil
}
