package spool

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"math"
	"slices"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// If one destination is down and another is up, segments are staged for the second but cannot be deleted because of the first:
// the spool then holds two files of each segment. One of the two can be removed.

// anyStage means that room is needed for no particular segment.
const anyStage = math.MaxUint64

// relieve makes room without losing anything. It removes the pool and the spare first, then one of the two files of staged
// segments: the segment's own file, after the staged one was read back, decoded and verified. If the staged file is the larger one,
// relieve removes that instead, since it can be made again; but only if no destination is about to get it, or if the segment must give
// way to forSegment, for which the room is needed. It returns whether it freed anything.
//
// A later segment gives way even if a destination waits for it, because destinations get segments in order: none of them can be
// acknowledged, and deleted, before the earlier one. So the first of all segments that need staged files always gets its room,
// and a full spool empties itself. For the same reason any segment gives way to one that is the next for a
// destination. A segment that is itself the next for a destination gives way only to an earlier one that is, too.
func (s *Shelf) relieve(ctx context.Context, enc Encoder, forSegment uint64, enough func() bool) (freed bool) {
	for s.space.makeRoom() {
		if freed = true; enough() {
			return true
		}
	}
	s.mu.Lock()
	first := s.isNext(forSegment)
	s.mu.Unlock()
	double := s.cat.double()
	later, _ := slices.BinarySearch(double, forSegment)
	slices.Reverse(double[later:]) // the segment that is needed last gives way first
	for _, n := range slices.Concat(double[later:], double[:later]) {
		if s.source != nil && !s.inWork(s.objPath(n)) {
			continue // the staged file is the source's
		}
		if ctx.Err() != nil || !s.staging.tryEnter(n) {
			continue
		}
		s.mu.Lock()
		force := first && n > forSegment || (first || n > forSegment) && !s.isNext(n)
		s.mu.Unlock()
		ok, err := s.halve(ctx, enc, n, force)
		s.staging.leave(n)
		if err != nil {
			s.logAgain(slog.LevelWarn, "spool: cannot make room on the full spool by giving up a copy of this segment; others are tried", "segment", n, "err", err)
		}
		if freed = freed || ok; ok && enough() {
			return true
		}
	}
	return freed
}

// halve removes one of the two files of a staged segment; with force, even a staged file that is about to be sent. The caller
// has reserved the segment in s.staging.
func (s *Shelf) halve(ctx context.Context, enc Encoder, n uint64, force bool) (freed bool, err error) {
	seg, ok := s.cat.get(n)
	if !ok || !seg.Staged || seg.NoRaw {
		return false, nil
	}
	if seg.StagedSize > seg.Size || s.source != nil || s.onlyCopy(n) {
		// Uncompressed output of small records can be several times the segment. A damaged file stays whatever its size.
		if !force && s.wanted(seg) {
			return false, nil
		}
		// The segment's own file is about to be the only one.
		if err := s.checkRaw(seg); err != nil {
			return false, err
		}
		s.space.unlink(s.objPath(n), seg.StagedSize)
		seg, ok = s.cat.update(n, func(c *sealed) { c.Staged, c.StagedSize = false, 0 })
	} else {
		// The staged file is about to be the only one. It was written by a compressor, through a cache, to a disk that may
		// be failing: it is trusted only after it was read and decoded.
		if err := s.checkStaged(ctx, enc, n); err != nil {
			return false, err
		}
		s.space.unlinkForGood(s.segPath(n), seg.Size)
		seg, ok = s.cat.update(n, func(c *sealed) { c.NoRaw = true })
	}
	if ok {
		s.remember(&seg)
	}
	return true, nil
}

// onlyCopy reports whether a segment's own file is the only copy of records that were damaged in it.
func (s *Shelf) onlyCopy(n uint64) bool {
	return s.damages.named(n, numberName(n)+segExt)
}

// checkRaw reads a segment's own file from end to end. It accepts only damage that is on record.
func (s *Shelf) checkRaw(seg sealed) error {
	f, err := s.fs.Open(s.segPath(seg.Number))
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	err = segment.Verify(f, size)
	if err == nil || !s.onlyCopy(seg.Number) {
		return err
	}
	if res, serr := segment.Scan(f, size, &segment.ReadOptions{Durable: size}); serr == nil && s.damages.isOnRecord(seg.Number, rangesOf(res.Damage)) {
		return nil
	}
	return err
}

// wanted reports whether a caller of Stage may be about to send a staged file: no destination has the segment, or Stage was called
// more often than destinations have it, and so recently that the caller cannot have given up. Otherwise two callers could make and
// remove the same file in turns, without progress.
func (s *Shelf) wanted(seg sealed) bool {
	arrived := 0
	s.mu.Lock()
	for _, d := range s.dests {
		if !d.forgotten && d.chain.Segment >= seg.Number {
			arrived++
		}
	}
	s.mu.Unlock()
	return arrived == 0 || seg.asked > arrived && time.Since(seg.lastAsked) < wantedFor
}

// Release says that a caller of Stage no longer needs the staged file of a segment. The file stays until its room is needed.
// Without Release, each of the files that are made to verify a full spool would block the next one for a minute.
func (s *Shelf) Release(number uint64) {
	s.cat.note(number, func(c *sealed) { c.lastAsked = time.Time{} })
}

// wantedFor is how long a staged file is kept for the caller of Stage.
const wantedFor = time.Minute

// checkStaged reads a staged file back and compares it, and its decoded contents, with its record.
func (s *Shelf) checkStaged(ctx context.Context, enc Encoder, n uint64) error {
	rec, err := s.stageRecord(n)
	if err != nil {
		return err
	}
	if _, err := segment.DecodeHeader(rec.Header); err != nil {
		return err // without a copy of the header the segment's own file is still needed
	}
	body, closeBody, err := s.OpenStaged(n)
	if err != nil {
		return err
	}
	defer func() { _ = closeBody() }()
	stored, raw := sha256.New(), sha256.New()
	out, err := enc.Decode(io.TeeReader(readerCtx{ctx, body}, stored), rec.Encoding)
	if err != nil {
		return err
	}
	_, err = io.Copy(raw, out)
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		_, err = io.Copy(stored, body) // the bytes that the decoder has not read
	}
	if err != nil {
		return err
	}
	if hex.EncodeToString(stored.Sum(nil)) != rec.SHA256 || hex.EncodeToString(raw.Sum(nil)) != rec.RawSHA256 {
		return fmt.Errorf("%w: staged file of segment %d is not what its record says", ErrCorrupt, n)
	}
	return nil
}

// readerCtx is a Reader that fails once its context has ended.
type readerCtx struct {
	ctx context.Context
	r   io.Reader
}

func (r readerCtx) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}
