package spool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

const maxStageRecord = 8 << 20

// Stage returns the stage record of a sealed segment. If the staged file does not exist, Stage makes it, or makes it again with the
// recorded settings from the segment's own file. It may be called for any segment at any time; calls for
// different segments run in parallel. fs.ErrNotExist: there is no such segment, or it is deleted. ErrFull: there is no room for
// its staged file. There will be room, at the latest, when the segment is the next one for a destination and the disk is not full:
// each Ack closes the channel of Changed.
//
// Damage that the Encoder finds is counted in the ledger and listed in the record's gaps. A segment without records has
// an object without content; the caller decides whether to store it.
func (s *Shelf) Stage(ctx context.Context, number uint64, enc Encoder) (*StageRecord, error) {
	enc, err := s.guard(ctx, enc, number)
	if err != nil {
		return nil, err
	}
	defer s.calls.Done()
	ctx, done := s.untilClosed(ctx)
	defer done()
	if err := s.staging.enter(ctx, number); err != nil {
		return nil, err
	}
	defer s.staging.leave(number)
	seg, ok := s.cat.get(number)
	if !ok {
		return nil, fmt.Errorf("spool: stage segment %d: %w", number, fs.ErrNotExist)
	}
	// The record fixes key and settings permanently, even if this process would choose others: the object may already be at
	// one of the destinations, or on the way there.
	old, err := s.stageRecord(number)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if statefile.AnswerTo(err) == statefile.Refused {
			return nil, err
		}
		if refused(err) && !seg.NoRaw && !s.reads.writeOff(number) {
			s.reads.note(number)
			return nil, err
		}
		s.log.Error("spool: cannot read a stage record; staging the segment again from its own file: see what the disk reports", "class", s.opts.Class, "segment", number, "err", err)
	}
	s.cat.note(number, func(c *sealed) { c.asked, c.lastAsked = c.asked+1, time.Now() })
	if old != nil {
		err := s.stillStaged(ctx, seg, old)
		if err == nil {
			return old, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("spool: stage segment %d: %w", number, context.Cause(ctx))
		}
		if seg.NoRaw {
			return s.stageGap(ctx, seg, enc, old, err)
		}
		if seg.Staged { // otherwise it was removed to make room
			s.log.Warn("spool: cannot use a staged file; staging the segment again from its own file: see what the disk reports", "class", s.opts.Class, "segment", number, "err", err)
		}
	} else if seg.NoRaw {
		return s.stageGap(ctx, seg, enc, nil, err)
	}
	rec, err := s.makeStaged(ctx, seg, enc, old)
	if noRoom(err) {
		rec, err = s.stageTight(ctx, seg, enc, old, err)
	}
	if _, lost := errors.AsType[*rawLostError](err); lost {
		if ok, uerr := s.unswap(number); ok && uerr == nil {
			rec, err = s.makeStaged(ctx, seg, enc, old)
		}
	}
	if raw, lost := errors.AsType[*rawLostError](err); lost {
		return s.stageGap(ctx, seg, enc, old, raw)
	}
	if err != nil {
		return nil, stageError(number, err)
	}
	if s.journal.short() {
		s.relieve(ctx, enc, anyStage, func() bool { return !s.journal.short() })
	}
	return rec, nil
}

// stageTight makes a staged file for which there was no room. One call runs at a time, so that several do not take the last room
// from each other.
func (s *Shelf) stageTight(ctx context.Context, seg sealed, enc Encoder, old *StageRecord, err error) (*StageRecord, error) {
	s.tight.Lock()
	defer s.tight.Unlock()
	fits := func() bool { return s.space.stageRoom(seg.Size) }
	for s.prune() == 0 && ctx.Err() == nil && !fits() { // first delete the segments that every destination has
	}
	wake(s.work)
	var rec *StageRecord
	if fits() {
		rec, err = s.makeStaged(ctx, seg, enc, old)
	}
	for noRoom(err) && (s.giveInodeTo(seg.Number, err, seg.Size) || s.relieve(ctx, enc, seg.Number, fits)) {
		rec, err = s.makeStaged(ctx, seg, enc, old)
	}
	if errors.Is(err, errNoRoom) {
		rec, err = s.stageBeyond(ctx, seg, enc, old, err)
	}
	return rec, err
}

// stageBeyond makes a staged file that does not fit into the quota, if a destination waits for it: see overdraft.
func (s *Shelf) stageBeyond(ctx context.Context, seg sealed, enc Encoder, old *StageRecord, noRoom error) (*StageRecord, error) {
	within, ok := s.beyondQuota(&seg, seg.Size)
	if !ok {
		return nil, noRoom
	}
	defer within()
	rec, err := s.makeStaged(ctx, seg, enc, old)
	if err == nil {
		s.space.logOverdraft(rec)
	}
	return rec, err
}

// stageError wraps err with the number of the segment that could not be staged.
func stageError(number uint64, err error) error {
	if noRoom(err) {
		err = &noRoomError{err}
	}
	return fmt.Errorf("spool: stage segment %d: %w", number, err)
}

// noRoomError is an ErrFull: the quota or the disk had no room for a staged file.
type noRoomError struct{ err error }

func (e *noRoomError) Error() string        { return e.err.Error() }
func (e *noRoomError) Unwrap() error        { return e.err }
func (e *noRoomError) Is(target error) bool { return target == ErrFull }

// noRoom reports whether an error says that there was no room for a staged file.
func noRoom(err error) bool { return errors.Is(err, errNoRoom) || vfs.IsNoSpace(err) }

// stageGap is Stage for a segment whose files do not contain all its records: once that is certain, the missing ones become a gap.
func (s *Shelf) stageGap(ctx context.Context, seg sealed, enc Encoder, rec *StageRecord, why error) (*StageRecord, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("spool: stage segment %d: %w", seg.Number, context.Cause(ctx))
	}
	if err := s.giveUpOn(seg, rec, why); err != nil {
		return nil, err
	}
	hole, ok := s.cat.get(seg.Number)
	if !ok {
		return nil, fmt.Errorf("spool: stage segment %d: %w", seg.Number, fs.ErrNotExist)
	}
	return s.makeStaged(ctx, hole, enc, nil)
}

// stillStaged returns why a segment's staged file does not match its record, nil if it does. It reads a staged file of an earlier
// process once from end to end: otherwise destinations would refuse a damaged file for its checksum again and again.
func (s *Shelf) stillStaged(ctx context.Context, seg sealed, rec *StageRecord) error {
	body, closeBody, err := s.OpenStaged(seg.Number)
	if err != nil {
		return err
	}
	defer func() { _ = closeBody() }()
	if body.Size() != rec.Size {
		return fmt.Errorf("%w: %d bytes, not %d", ErrCorrupt, body.Size(), rec.Size)
	}
	if seg.checked {
		return nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, readerCtx{ctx, body}); err != nil {
		return err
	}
	if hex.EncodeToString(sum.Sum(nil)) != rec.SHA256 {
		return fmt.Errorf("%w: checksum differs", ErrCorrupt)
	}
	s.cat.note(seg.Number, func(c *sealed) { c.checked = true })
	return nil
}

// makeStaged encodes a segment and publishes the result.
func (s *Shelf) makeStaged(ctx context.Context, seg sealed, enc Encoder, old *StageRecord) (*StageRecord, error) {
	if err := s.mayStage(seg.Number); err != nil {
		return nil, err
	}
	temp := s.objPath(seg.Number) + vfs.TempSuffix
	src, out, err := s.encode(ctx, seg, enc, old, temp)
	if err != nil {
		return nil, err
	}
	before := seg
	if out.Records != seg.Records { // damaged since it was sealed, or readable again
		seg.Records, seg.Bytes, seg.Gaps = out.Records, s.readable(seg), out.Gaps
	}
	if old != nil && out.Records < old.Records && s.mayComeBack(seg.Number) {
		s.space.used(-out.size)
		_ = s.fs.Remove(temp)
		return nil, &StagedLostError{Record: old, Err: fmt.Errorf("%w: its own file has %d readable records, and had %d before", ErrCorrupt, out.Records, old.Records)}
	}
	if err := s.noteDamage(before, seg, old, out); err != nil {
		s.space.used(-out.size)
		_ = s.fs.Remove(temp)
		return nil, err
	}
	rec := s.newRecord(seg, src, out)
	if old != nil && old.RawSHA256 != rec.RawSHA256 {
		// The segment has been damaged since. Its new gaps are in the record, and in later manifests.
		s.log.Error("spool: staging a segment again produced different content, so the segment was damaged since; what is missing is reported as damage, and objects that were sent before are as they were: check the disk", "class", s.opts.Class, "segment", seg.Number,
			"was", old.RawSHA256, "is", rec.RawSHA256)
	}
	if err := s.publish(temp, rec); err != nil {
		s.space.used(-out.size)
		_ = s.fs.Remove(temp)
		_ = s.fs.Remove(s.objPath(seg.Number)) // without its record it is useless, and not counted
		return nil, err
	}
	s.reads.done(seg.Number)
	err = s.noteStaged(before, rec)
	if err == nil {
		s.hooks.noteStaged(rec)
	}
	return rec, err
}

// mayComeBack counts the attempts to stage a segment whose file no longer contains all records that were staged from it. It reports
// whether to wait for another attempt: a destination may have the earlier object, with all records.
func (s *Shelf) mayComeBack(n uint64) bool {
	s.reads.note(n)
	return !s.reads.isLost(n)
}

// encode encodes a segment to a temporary file, with the recorded settings if there are any.
func (s *Shelf) encode(ctx context.Context, seg sealed, enc Encoder, old *StageRecord, temp string) (src *segment.Reader, out staged, err error) {
	raw, err := s.fs.Open(s.segPath(seg.Number))
	if err != nil {
		return nil, out, rawLost(err, fs.ErrNotExist)
	}
	defer raw.Close()
	from := &watchedReader{r: raw}
	skip := s.reads.writeOff(seg.Number)
	defer func() {
		if err != nil && from.failed.Load() {
			s.reads.note(seg.Number)
		}
	}()
	size, err := sizeOf(raw, seg.Size)
	if err != nil {
		return nil, out, err
	}
	src, err = segment.NewReader(from, size, &segment.ReadOptions{
		Durable: seg.Size, Next: seg.Last + 1, Segment: seg.Number, SkipUnreadable: skip,
	})
	if err != nil {
		return nil, out, rawLost(err, segment.ErrCorrupt)
	}
	var want *object.Encoding
	if old != nil {
		want = &old.Encoding
	}
	out, err = s.stageTo(seg.Number, temp, func(w io.Writer) (object.Encoded, error) {
		e, err := enc.Encode(ctx, w, src, want)
		return e, rawLost(err, segment.ErrCorrupt)
	})
	return src, out, err
}

// sizeOf returns the size of a file, at most n, the size that it should have: missing bytes are damage, not a failed read.
func sizeOf(f vfs.File, n int64) (int64, error) {
	size, err := f.Size()
	return min(size, n), err
}

// publish gives a staged file its name, and then writes its record. In this order, because a record without
// its file would promise bytes that do not exist.
func (s *Shelf) publish(temp string, rec *StageRecord) error {
	js, err := statefile.Seal(rec)
	if err != nil {
		return err
	}
	if err := s.fs.Rename(temp, s.objPath(rec.Segment)); err != nil {
		return err
	}
	if err := s.fs.SyncDir(s.path(stageDir)); err != nil {
		return err
	}
	return s.space.writeGiving(s.recPath(rec.Segment), js, func(err error, size int64) bool { return s.giveInodeTo(rec.Segment, err, size) })
}

// noteStaged adds a new staged file to the catalogue, the ledger and the index.
func (s *Shelf) noteStaged(seg sealed, rec *StageRecord) error {
	var now sealed
	var ok bool
	s.journal.change(func(l *segment.Ledger) bool {
		now, ok = s.cat.update(seg.Number, func(c *sealed) {
			c.Staged, c.StagedSize, c.checked = true, rec.Size, true
			c.Records, c.Bytes, c.Gaps = rec.Records, rec.Bytes, slices.Clone(rec.Gaps)
		})
		if !ok || seg.Records == rec.Records {
			return false
		}
		s.log.Error("spool: a segment now contains a different number of records than when it was sealed, because it is damaged; the difference is reported as damage: check the disk", "class", s.opts.Class, "segment", seg.Number,
			"was", seg.Records, "is", rec.Records, "gaps", rec.Gaps)
		// Records that are readable again were counted as damaged before, unless nothing could be counted then.
		d := &l.Damaged
		d.Records += max(seg.Records, rec.Records) - rec.Records - min(d.Records, max(seg.Records, rec.Records)-seg.Records)
		d.Bytes += max(seg.Bytes, rec.Bytes) - rec.Bytes - min(d.Bytes, max(seg.Bytes, rec.Bytes)-seg.Bytes)
		return true
	})
	if !ok { // deleted meanwhile: every destination has it
		s.space.unlink(s.objPath(seg.Number), rec.Size)
		s.space.unlink(s.recPath(seg.Number), 0)
		return fs.ErrNotExist
	}
	s.space.used(-seg.StagedSize) // the new one was counted while it was written
	s.remember(&now)
	return nil
}

// readable returns the payload bytes that can still be read from a damaged segment. It reads the segment a second time, because
// Encoders count their output, not payload bytes.
func (s *Shelf) readable(seg sealed) (n uint64) {
	raw, err := s.fs.Open(s.segPath(seg.Number))
	if err != nil {
		return 0
	}
	defer raw.Close()
	size, err := sizeOf(raw, seg.Size)
	if err != nil {
		return 0
	}
	res, err := segment.Scan(raw, size, &segment.ReadOptions{
		Durable: seg.Size, Next: seg.Last + 1, Segment: seg.Number, SkipUnreadable: true,
	})
	if err != nil {
		return 0
	}
	f := res.Builder.Footer()
	return f.Bytes
}

// newRecord returns the stage record. It has copies of header and footer, so that the segment can be accounted for, and
// adopted, after its own file was deleted.
func (s *Shelf) newRecord(seg sealed, src *segment.Reader, out staged) *StageRecord {
	h := src.Header()
	return &StageRecord{
		Version: 1, Spool: h.Spool, Epoch: h.Epoch, Class: h.Class, Segment: seg.Number,
		First: seg.First, Last: seg.Last, Records: out.Records, Bytes: seg.Bytes, Gaps: out.Gaps,
		MinTime: out.MinTime, MaxTime: out.MaxTime,
		Key:      objectKey(h, seg, out.Ext),
		Encoding: out.Encoding, ContentType: out.ContentType, ContentEncoding: out.ContentEncoding,
		RawBytes: out.RawBytes, RawSHA256: hex.EncodeToString(out.RawSHA256[:]),
		Size: out.size, SHA256: hex.EncodeToString(out.sha256), CRC64NVME: fmt.Sprintf("%016x", out.crc64),
		Header: src.HeaderBytes(), Footer: src.FooterBytes(),
	}
}

// objectKey returns the key of a segment's object.
func objectKey(h *segment.Header, seg sealed, ext string) string {
	return (&object.Key{
		Origin: object.Origin{Class: h.Class, Spool: h.Spool}, Hour: object.HourOf(h.Created), Epoch: h.Epoch,
		First: seg.First, Last: seg.Last, Ext: ext,
	}).String()
}

// stageRecord reads the record of a segment; fs.ErrNotExist if it has none.
func (s *site) stageRecord(n uint64) (*StageRecord, error) {
	rec := new(StageRecord)
	if err := loadState(s.fs, s.recPath(n), maxStageRecord, 1, rec); err != nil {
		return nil, err
	}
	if rec.Spool != s.id.Spool || rec.Class != s.id.Class {
		return nil, fmt.Errorf("%w: %s: spool %s, class %s", errForeign, s.recPath(n), rec.Spool, rec.Class)
	}
	if rec.Segment != n {
		return nil, fmt.Errorf("%w: %s is the record of segment %d", ErrCorrupt, s.recPath(n), rec.Segment)
	}
	return rec, nil
}

// errForeign: a file belongs to another spool.
var errForeign = fmt.Errorf("%w: it is of another spool", ErrCorrupt)

// StageRecord returns the stage record of a segment. Unlike Stage it does not need the staged file, for which a full spool may have no
// room. fs.ErrNotExist: the segment was not staged, or is deleted.
func (s *Shelf) StageRecord(number uint64) (*StageRecord, error) {
	if err := s.admit(); err != nil {
		return nil, err
	}
	defer s.calls.Done()
	rec, err := s.stageRecord(number)
	if err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	return rec, nil
}

// OpenStaged opens a staged file for reading. fs.ErrNotExist: call Stage.
func (s *Shelf) OpenStaged(number uint64) (body *io.SectionReader, close func() error, err error) {
	f, err := s.fs.Open(s.objPath(number))
	if err != nil {
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	size, err := f.Size()
	if err != nil {
		_ = f.Close()
		return nil, nil, fmt.Errorf("spool: %w", err)
	}
	return io.NewSectionReader(f, 0, size), f.Close, nil
}
