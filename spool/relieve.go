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

// A destination that is down holds every segment back, and one that is up has them staged: both files of each segment
// then wait for the one that is down. Half of that can go.

// anyStage stands for no segment in particular.
const anyStage = math.MaxUint64

// relieve makes room without losing anything: pool and spare go first, then whatever a staged segment has twice. Its own
// file goes once the staged one was read back, decoded and found right; where that is the larger one it goes instead, if
// nobody is about to send it, or if it is of a later segment than forSegment, for which the room is needed: it is made
// again. It returns whether it freed anything.
//
// A later segment gives way whoever waits for it, because destinations get segments in order: none of them can be
// acknowledged, and deleted, before the earlier one. So of all segments that need staged files the first one always has
// its way, and a full spool empties itself. For the same reason any segment gives way to one that is the next for a
// destination. One that is the next for a destination itself gives way only to an earlier one that is, too.
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
	slices.Reverse(double[later:]) // the one that is needed last goes first
	for _, n := range slices.Concat(double[later:], double[:later]) {
		if s.source != nil && !s.inWork(s.objPath(n)) {
			continue // the source's
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

// halve gives up one of the two files of a staged segment, with force also one that somebody is about to send. The caller
// has the segment's stage.
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
		// be failing: it is believed for what can be read and decoded.
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

// checkRaw reads a segment's own file from end to end. The damage that is on record may be in it, and no other.
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

// wanted reports whether somebody may be about to send a staged file: it was asked for more often than it has arrived,
// and not so long ago that whoever asked must have given up. Two callers that made and gave up the same file in turns
// would get nowhere.
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

// Release says that a caller of Stage needs the staged file of a segment no longer. The file stays for as long as nothing else
// needs its room. Without it, each of the files that were made to verify a full spool would keep the next one out for a minute.
func (s *Shelf) Release(number uint64) {
	s.cat.note(number, func(c *sealed) { c.lastAsked = time.Time{} })
}

// wantedFor is how long a staged file is kept for who asked for it.
const wantedFor = time.Minute

// checkStaged reads a staged file back and compares it, and what it decodes to, with its record.
func (s *Shelf) checkStaged(ctx context.Context, enc Encoder, n uint64) error {
	rec, err := s.stageRecord(n)
	if err != nil {
		return err
	}
	if _, err := segment.DecodeHeader(rec.Header); err != nil {
		return err // without a copy of the header the raw file is still needed
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
		_, err = io.Copy(stored, body) // what the decoder left unread
	}
	if err != nil {
		return err
	}
	if hex.EncodeToString(stored.Sum(nil)) != rec.SHA256 || hex.EncodeToString(raw.Sum(nil)) != rec.RawSHA256 {
		return fmt.Errorf("%w: staged file of segment %d is not what its record says", ErrCorrupt, n)
	}
	return nil
}

// readerCtx ends with its context.
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
