package ship

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync/atomic"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// deliver delivers one segment, however long it takes. Each attempt asks for the stage record again: if the staged file is
// gone, it is made again from the raw segment with the recorded settings.
func (l *lane) deliver(ctx context.Context, d *delivery) error {
	number := d.seg.Number
	return l.retry(ctx, "segment "+strconv.FormatUint(number, 10), func(ctx context.Context) error {
		rec, r, whole, err := l.sendInTurn(ctx, d)
		if errors.Is(err, errCovered) {
			return nil
		}
		if err != nil {
			return err
		}
		l.mu.Lock()
		d.rec, d.receipt, d.whole, d.done = rec, r, whole, true
		l.sent += r.Size
		if r.Size > 0 {
			l.endOutage()
		}
		l.mu.Unlock()
		l.s.changed.Broadcast()
		return nil
	})
}

// send stages a segment, or the rest of it, and stores it.
func (l *lane) send(ctx context.Context, d *delivery) (rec *spool.StageRecord, r Receipt, whole *Whole, err error) {
	number := d.seg.Number
	rec, err = l.s.stage(ctx, number)
	switch {
	case err != nil:
		return nil, r, nil, fmt.Errorf("staging segment %d: %w", number, err)
	case d.rest > 0:
		whole = &Whole{First: rec.First, Gaps: rec.Gaps}
		if rec.Records > 0 {
			whole.RawSHA256 = rec.RawSHA256
		}
		if d.rest > rec.Last {
			return nil, r, whole, nil
		}
		rec, r, err = l.sendRest(ctx, number, d.rest)
		return rec, r, whole, err
	case rec.Records == 0: // of a segment that is damaged throughout, nothing is left to store
		return rec, r, nil, nil
	}
	rec, r, err = l.put(ctx, rec)
	return rec, r, nil, err
}

// sendRest stages the rest of a segment, and stores it.
func (l *lane) sendRest(ctx context.Context, number, first uint64) (*spool.StageRecord, Receipt, error) {
	rec, body, done, err := l.s.sp.Shelf().StageRest(ctx, number, first, l.s.enc, func(put func(uint64, *segment.Record) error) error { return l.eachStaged(ctx, number, put) })
	if err != nil {
		return nil, Receipt{}, fmt.Errorf("staging the rest of segment %d: %w", number, err)
	}
	defer done()
	if rec.Records == 0 {
		return rec, Receipt{}, nil
	}
	return l.store(ctx, rec, body)
}

// put stores a staged file. It returns the stage record with the object's key, and the destination's own receipt for exactly
// these bytes, or for another compression of the same output that was there before.
func (l *lane) put(ctx context.Context, rec *spool.StageRecord) (*spool.StageRecord, Receipt, error) {
	body, done, err := l.s.sp.Shelf().OpenStaged(rec.Segment)
	if err != nil {
		return rec, Receipt{}, fmt.Errorf("opening the staged file of segment %d: %w", rec.Segment, err)
	}
	// The staged file was only read, so an error of closing it does not matter.
	defer func() { _ = done() }()
	return l.store(ctx, rec, body)
}

func (l *lane) storeAs(ctx context.Context, rec *spool.StageRecord, body *io.SectionReader) (Receipt, error) {
	o, err := stagedObject(rec)
	if err != nil {
		return Receipt{}, err
	}
	l.mu.Lock()
	o.New = rec.Segment > l.chain.Segment && l.attempts.noteSegment(l.s.sp, rec)
	l.mu.Unlock()
	staged := &refusable{ReaderAt: body}
	r, err := l.dest.Put(ctx, o, l.limitRate(ctx, io.NewSectionReader(staged, 0, body.Size())))
	switch {
	case errors.Is(err, ErrVerify):
		err = l.blameSide(err, o, rec.Segment, body)
	case err != nil && staged.refused.Load():
		// Otherwise the next attempt would fail at the same place. After Doubt, Stage reads the file, and makes it again, has
		// it restored, or gives up what the disk refuses.
		l.s.sp.Shelf().Doubt(rec.Segment)
		err = fmt.Errorf("this host's disk does not return the staged file of %s: %w", o.Key, err)
	}
	if errors.Is(err, ErrConflict) {
		return l.resolveConflict(ctx, rec, err)
	}
	if err == nil {
		err = o.Check(r) // do not take the driver's word for it
	}
	return r, err
}

// refusable remembers an error of reading the staged file: a driver's error does not show whether the file or the destination
// failed.
type refusable struct {
	io.ReaderAt
	refused atomic.Bool
}

func (r *refusable) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	if err != nil && !errors.Is(err, io.EOF) {
		r.refused.Store(true)
	}
	return n, err
}

// blameSide finds out whether bytes that do not match were damaged in transit, which another attempt cures, or on this host's
// own disk. In the second case the spool makes the staged file again, has it restored, or gives its records up as damaged.
func (l *lane) blameSide(err error, o Object, number uint64, body *io.SectionReader) error {
	here, rerr := readBack(io.NewSectionReader(body, 0, body.Size()))
	if rerr == nil && here.Size == o.Size && here.SHA256 == o.SHA256 {
		l.mu.Lock()
		l.attempts.noteAltered(number)
		l.mu.Unlock()
		return err
	}
	l.s.sp.Shelf().Doubt(number)
	if rerr != nil {
		return fmt.Errorf("%w; reading the staged file: %w", err, rerr)
	}
	return fmt.Errorf("the staged file of %s is damaged on this host's disk, looking for another copy: %w", o.Key, err)
}

// stagedObject describes a staged file. Key and hashes come from the record alone, never from the settings of this
// process.
func stagedObject(rec *spool.StageRecord) (Object, error) {
	o := Object{
		Key: rec.Key, Size: rec.Size, ContentType: rec.ContentType, ContentEncoding: rec.ContentEncoding, Spool: rec.Spool,
	}
	n, err := hex.Decode(o.SHA256[:], []byte(rec.SHA256))
	if err != nil || n != len(o.SHA256) {
		return o, fmt.Errorf("ship: stage record of segment %d: SHA-256 %q", rec.Segment, rec.SHA256)
	}
	if o.CRC64NVME, err = strconv.ParseUint(rec.CRC64NVME, 16, 64); err != nil {
		return o, fmt.Errorf("ship: stage record of segment %d: CRC-64 %q", rec.Segment, rec.CRC64NVME)
	}
	return o, nil
}

// resolveConflict examines the object that has taken a key. A staged file that was lost, and made again by another build of a
// compressor, has other bytes but the same content: then the object is this spool's own, and its reported checksum is the
// receipt.
func (l *lane) resolveConflict(ctx context.Context, rec *spool.StageRecord, conflict error) (Receipt, error) {
	there, same, err := l.compare(ctx, rec)
	if err != nil {
		return Receipt{}, fmt.Errorf("comparing %s, which is there already: %w", rec.Key, err)
	}
	if !same {
		return Receipt{}, l.confirmConflict(ctx, rec, there, conflict)
	}
	r, err := l.dest.Stat(ctx, rec.Key)
	if err != nil {
		return Receipt{}, err
	}
	// As everywhere, the receipt is what the destination reports; what was read back only checks it.
	if r.Checksum == "" {
		r.Size, r.Checksum, r.Method = there.Size, SHA256Checksum(there.SHA256), "read-back"
	}
	return r, there.Check(r)
}

// confirmConflict returns the conflict once proveGenuine has succeeded and the destination has returned the same bytes a
// second time; until then it returns an error that is retried.
func (l *lane) confirmConflict(ctx context.Context, rec *spool.StageRecord, there Object, conflict error) error {
	err := l.proveGenuine(ctx)
	var again Object
	if err == nil {
		again, _, err = l.compare(ctx, rec)
	}
	switch {
	case err != nil:
		return fmt.Errorf("%s: the key seems to be taken, but that cannot be confirmed: %w (%v)", rec.Key, err, conflict)
	case again.SHA256 != there.SHA256:
		return fmt.Errorf("%s: two readings differ (%v)", rec.Key, conflict)
	}
	l.mu.Lock()
	_, altered := l.attempts.failed[rec.Segment]
	l.mu.Unlock()
	if altered {
		conflict = fmt.Errorf("%w: %w", errAltered, conflict)
	}
	return fmt.Errorf("%s: %w (the %d bytes there are not this segment)", rec.Key, conflict, there.Size)
}

// errAltered marks a conflict that this process's own damaged upload explains, without another writer.
var errAltered = errors.New("the upload of this process failed verification, and other bytes are there now")

// compare reads the object under rec's key, and returns its size and hashes and whether its content is what was staged. An
// error means that it could not be read.
func (l *lane) compare(ctx context.Context, rec *spool.StageRecord) (there Object, same bool, err error) {
	body, err := l.dest.Open(ctx, rec.Key)
	if err != nil {
		return there, false, err
	}
	defer body.Close()
	stored := NewDigest()
	// Another compression of the same output may be longer than this one, but not much longer than the output.
	most := max(rec.Size, rec.RawBytes+rec.RawBytes/8+1<<20)
	src := &sourceReader{r: io.TeeReader(io.LimitReader(body, most+1), stored)}
	n, sum := decode(l.s.enc, src, rec)
	// Bytes that the decoder did not read are part of the object, too.
	if _, err := io.Copy(io.Discard, src); err != nil || src.err != nil {
		return there, false, errors.Join(err, src.err)
	}
	stored.Sum(&there)
	there.Key = rec.Key
	return there, n == rec.RawBytes && hex.EncodeToString(sum[:]) == rec.RawSHA256, nil
}

// decode returns the length and hash of src's content. The length is -1 if src does not decode: then it is not this spool's
// object.
func decode(enc spool.Encoder, src io.Reader, rec *spool.StageRecord) (n int64, sum [32]byte) {
	r, err := enc.Decode(src, rec.Encoding)
	if err != nil {
		return -1, sum
	}
	defer r.Close()
	h := sha256.New()
	// One byte more than expected proves a difference, however large the content would be.
	n, err = io.Copy(h, io.LimitReader(r, rec.RawBytes+1))
	if err != nil {
		return -1, sum
	}
	h.Sum(sum[:0])
	return n, sum
}

// sourceReader remembers an error of reading, which a decoder may report as damage.
type sourceReader struct {
	r   io.Reader
	err error
}

func (s *sourceReader) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
