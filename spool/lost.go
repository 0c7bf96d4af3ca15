package spool

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// StagedLostError says that the staged file of a segment is damaged or gone, and cannot be made again from the segment's own file,
// which was deleted in favour of the staged one or is damaged too. A destination may have the object: then Restore brings the staged
// file back, and nothing is lost. Otherwise Stage, after some attempts, turns the missing records into a gap. A caller that could not
// ask a destination calls NoteUnasked, so that the attempts last longer.
type StagedLostError struct {
	Record *StageRecord // what the file must be
	Err    error        // why it is not
}

// Error names the segment.
func (e *StagedLostError) Error() string {
	return fmt.Sprintf("spool: the staged file of segment %d is lost, and the segment's own file is deleted or incomplete: %v", e.Record.Segment, e.Err)
}

// Is reports that every StagedLostError is an ErrCorrupt.
func (e *StagedLostError) Is(target error) bool { return target == ErrCorrupt }

// Unwrap returns why the file is lost.
func (e *StagedLostError) Unwrap() error { return e.Err }

// rawLostError says that a segment's own file is gone, or that nothing in it can be read.
type rawLostError struct{ err error }

func (e *rawLostError) Error() string { return e.err.Error() }
func (e *rawLostError) Unwrap() error { return e.err }

// rawLost wraps err, an error of reading a segment's file, in a rawLostError if it is of the given kind: retrying does not help then.
func rawLost(err, kind error) error {
	if errors.Is(err, kind) {
		return &rawLostError{err}
	}
	return err
}

// Restore restores the staged file of a segment from the object at a destination. If body does not contain exactly the bytes that
// the stage record describes, nothing is changed.
func (s *Shelf) Restore(ctx context.Context, number uint64, body io.Reader) error {
	if err := s.admit(); err != nil {
		return err
	}
	defer s.calls.Done()
	if err := checkContext(ctx); err != nil {
		return err
	}
	ctx, done := s.untilClosed(ctx)
	defer done()
	if err := s.staging.enter(ctx, number); err != nil {
		return err
	}
	defer s.staging.leave(number)
	seg, ok := s.cat.get(number)
	rec, err := s.stageRecord(number)
	if err != nil || !ok {
		return errors.Join(err, fmt.Errorf("spool: restore segment %d: %w", number, fs.ErrNotExist))
	}
	within, _ := s.beyondQuota(&seg, rec.Size) // a destination that has everything before this segment waits for it
	defer within()
	temp := s.objPath(number) + vfs.TempSuffix
	out, err := s.stageTo(number, temp, func(w io.Writer) (object.Encoded, error) {
		return callGated(ctx, s.space, "Shelf.Restore: body", w, func(w io.Writer) (none object.Encoded, err error) {
			_, err = io.Copy(w, io.LimitReader(readerCtx{ctx, body}, rec.Size+1))
			return none, err
		})
	})
	if err != nil {
		return fmt.Errorf("spool: restore segment %d: %w", number, err)
	}
	if out.size != rec.Size || hex.EncodeToString(out.sha256) != rec.SHA256 {
		err = fmt.Errorf("%w: it is not what the stage record of segment %d says", ErrCorrupt, number)
	} else if err = s.fs.Rename(temp, s.objPath(number)); err == nil {
		err = s.fs.SyncDir(s.path(stageDir))
	}
	if err != nil {
		s.space.used(-out.size)
		_ = s.fs.Remove(temp)
		return fmt.Errorf("spool: restore segment %d: %w", number, err)
	}
	s.space.used(-seg.StagedSize)
	s.space.logOverdraft(rec)
	s.reads.done(number)
	now, ok := s.cat.update(number, func(c *sealed) { c.Staged, c.StagedSize, c.checked = true, rec.Size, true })
	if ok {
		s.remember(&now)
	}
	s.log.Warn("spool: a damaged staged file was brought back from a destination that has it, so nothing is lost: check the disk", "class", s.opts.Class, "segment", number)
	return nil
}

// NoteUnasked records that a destination could not be asked for the object of a segment, after Stage has returned a StagedLostError. The
// destination may have the object and only be away for a moment. So as long as each attempt ends with this call, Stage turns the
// missing records into a gap only after a minute, as if the disk refused to return them. It does not wait longer: the records are
// safe if the destination has them, and those that follow would be missing at the other destinations for as long as it is away.
func (s *Shelf) NoteUnasked(number uint64) { s.reads.noteUnasked(number) }

// Doubt makes the next Stage verify the staged file of a segment again: a destination has received other bytes than the stage record
// says.
func (s *Shelf) Doubt(number uint64) { s.cat.note(number, func(c *sealed) { c.checked = false }) }

// giveUpOn decides what happens to a segment that cannot be staged because of its own files. It returns nil if it has turned the
// segment into a gap. It does so only after several attempts: a destination may still have the lost object, and a disk that cannot
// read a sector, or a destination that cannot be asked, may be only temporarily unavailable.
func (s *Shelf) giveUpOn(seg sealed, rec *StageRecord, err error) error {
	_, lost := errors.AsType[*rawLostError](err)
	lost = lost || errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist)
	if !lost && !refused(err) {
		return err
	}
	s.reads.note(seg.Number)
	if lost && !s.reads.isLost(seg.Number) || !lost && !s.reads.writeOff(seg.Number) {
		if rec != nil {
			return &StagedLostError{Record: rec, Err: err}
		}
		return err
	}
	return s.replaceLost(seg, err)
}

// replaceLost replaces a segment that cannot be read by an empty one. So the loss appears in the ledger, the manifests and the
// objects, and does not block later segments. The files of the lost segment are kept.
func (s *Shelf) replaceLost(seg sealed, why error) error {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	if _, ok := s.cat.get(seg.Number); !ok {
		return fs.ErrNotExist // every destination has it: it was deleted meanwhile
	}
	freed := s.counted(&seg)
	for _, f := range segmentFiles {
		if err := s.setAside(f.dir, numberName(seg.Number)+f.ext); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	all := []segment.Range{{First: seg.First, Last: seg.Last}}
	if seg.Last < seg.First {
		all = nil
	}
	if err := s.damages.note(seg.Number, all, seg.Bytes, why.Error()); err != nil {
		return err
	}
	before, after := s.ledgersOf(seg)
	h := s.newHeader(seg.Number, seg.First, seg.Created, before)
	h.Epoch = seg.Epoch
	hole, err := s.writeHole(h, seg.Last+1, &after)
	if err != nil {
		return err
	}
	hole.asked, hole.lastAsked = seg.asked, seg.lastAsked
	s.space.used(hole.Size - freed) // the lost segment's files now count as files in damaged/
	s.damages.weigh()
	var c sealed
	s.journal.change(func(l *segment.Ledger) bool {
		s.cat.put(hole)
		l.Damaged.Add(segment.Tally{Records: seg.Records, Bytes: seg.Bytes})
		c = *hole
		return true
	})
	s.remember(&c)
	s.reads.done(seg.Number)
	return nil
}

// counted returns the size of the files of a segment that counts against the quota. An adopter's quota is only for its own files.
func (s *Shelf) counted(seg *sealed) (n int64) {
	if !seg.NoRaw && (s.source == nil || s.inWork(s.segPath(seg.Number))) {
		n += seg.Size
	}
	if s.source == nil || s.inWork(s.objPath(seg.Number)) {
		n += seg.StagedSize
	}
	return n
}

// ledgersOf reconstructs the ledgers at the beginning and the end of a segment, as far as they are known without its file.
func (s *Shelf) ledgersOf(seg sealed) (before, after segment.Ledger) {
	later := s.cat.sum(seg.Number, ^uint64(0))
	after = *s.journal.atSealedEnd()
	after.Kept = segment.Tally{Records: seg.Last, Bytes: after.Kept.Bytes - min(after.Kept.Bytes, later.Bytes)}
	if len(seg.Unaccounted) > 0 {
		after.Unaccounted = seg.Unaccounted
	}
	before = *after.Clone()
	before.Lost = after.Lost.Sub(seg.Lost)
	before.Filtered, before.Made = after.Filtered.Sub(seg.Filtered), after.Made.Sub(seg.Made)
	if len(seg.Unaccounted) > 0 {
		before.Unaccounted = nil
	}
	before.Kept = after.Kept.Sub(segment.Tally{Records: seg.Last + 1 - seg.First, Bytes: seg.Bytes})
	return before, after
}

// writeHole creates the file of an empty segment, which says that its records are missing, up to the sequence number before next.
func (s *site) writeHole(h *segment.Header, next uint64, l *segment.Ledger) (_ *sealed, err error) {
	b, err := segment.EncodeHeader(h, headerPad)
	if err != nil {
		return nil, err
	}
	path := s.segPath(h.Segment)
	if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by an attempt that failed
		return nil, err
	}
	f, err := s.fs.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() {
		_ = f.Close()
		if err != nil {
			_ = s.fs.Remove(path) // it holds nothing, and another attempt would set it aside
		}
	}()
	if _, err := f.WriteAt(b, 0); err != nil {
		return nil, err
	}
	res, err := segment.Scan(f, int64(len(b)), &segment.ReadOptions{Next: next})
	if err != nil {
		return nil, err
	}
	size, err := finish(f, res, next, l)
	if err != nil {
		return nil, err
	}
	return describe(h, res.Builder, l, res.Damage, size), s.fs.SyncDir(s.path(segDir))
}
