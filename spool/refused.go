package spool

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// A disk may refuse to return what it holds. There is one rule for that. For a while the disk is asked again; then what it
// refuses is written off as damage and everything else goes its way: one bad sector must hold back neither the start nor the
// records around it.
//
// That the whole disk may be away instead is no danger. What is written off counts once the file that is made without it,
// and its record, have been synced, on the same disk.
//
// A spool that is open returns the error, and counts: its callers try again anyhow. Open has no caller that would take another
// error for "later", so it waits itself, for a shorter time, because listeners wait for it. It decides about as little as it
// can: what it cannot read of a segment may become readable, and staging decides. All other reads of an open spool return their
// error and decide nothing: see Shelf.ReadSealed.
const (
	refusals   = 5           // so often a reading has to fail before
	refusedFor = time.Minute // and for so long
	// openTries is how often a read that fails while a spool is opened is tried, openPause the time between.
	openTries = 3
	openPause = time.Second
	// openPatience bounds all pauses of one Open. A disk that is away comes back for all files at once: where a minute of
	// pauses has not brought it back, a pause for each of a thousand files would only keep the spool closed for half an hour.
	openPatience = refusedFor
)

// refused reports whether an error is the disk's: it did not return what it was asked for.
func refused(err error) bool {
	if statefile.Denied(err) {
		return false
	}
	for _, known := range []error{segment.ErrCorrupt, segment.ErrVersion, ErrCorrupt, statefile.ErrNewer, errOlder, fs.ErrNotExist} {
		if errors.Is(err, known) {
			return false
		}
	}
	return err != nil
}

// patience is what is left of the pauses of one Open. It is used by one goroutine. A nil one has no pauses.
type patience struct {
	left time.Duration
	log  *slog.Logger
}

func newPatience(log *slog.Logger) *patience { return &patience{openPatience, log} }

// pause waits before the same is read again, as long as there is time for that.
func (p *patience) pause() {
	if p == nil || p.left <= 0 {
		return
	}
	time.Sleep(openPause)
	if p.left -= openPause; p.left <= 0 && p.log != nil {
		p.log.Error("spool: the disk has refused many reads during this start; the start no longer pauses before it tries one again, so that records are received soon: see what the disk reports")
	}
}

// persist calls read until the disk answers, the last time with the leave to skip what it refuses.
func persist[T any](p *patience, read func(skip bool) (T, error)) (T, error) {
	for range openTries - 1 {
		v, err := read(false)
		if !refused(err) {
			return v, err
		}
		p.pause()
	}
	v, err := read(false)
	if refused(err) {
		v, err = read(true)
	}
	return v, err
}

// persistState is loadState for Open.
func (s *site) persistState(path string, max int64, version int, v any) error {
	_, err := persist(s.patience, func(bool) (struct{}, error) { return struct{}{}, loadState(s.fs, path, max, version, v) })
	return err
}

// scan is segment.Scan for recovery.
func (s *site) scan(f io.ReaderAt, size int64, o segment.ReadOptions) (*segment.ScanResult, error) {
	return persist(s.patience, func(skip bool) (*segment.ScanResult, error) {
		o.SkipUnreadable = skip
		res, err := segment.Scan(f, size, &o)
		if err == nil && skip {
			res.End = segment.Align(size) // what is written to it goes behind what may come back
		}
		return res, err
	})
}

// newReader is segment.NewReader for recovery.
func (s *site) newReader(f io.ReaderAt, size int64, o segment.ReadOptions) (*segment.Reader, error) {
	return persist(s.patience, func(skip bool) (*segment.Reader, error) {
		o.SkipUnreadable = skip
		return segment.NewReader(f, size, &o)
	})
}

// refusedReads remembers of which segments the disk does not return everything.
type refusedReads struct {
	mu   sync.Mutex
	segs map[uint64]refusal
}

// refusal counts the readings of one thing that have failed.
type refusal struct {
	times int
	since time.Time
}

// again counts one more.
func (r *refusal) again() {
	if r.times++; r.times == 1 {
		r.since = time.Now()
	}
}

// isFinal reports whether it has been tried often and long enough.
func (r *refusal) isFinal() bool { return r.times >= refusals && time.Since(r.since) >= refusedFor }

// note counts a reading that failed.
func (r *refusedReads) note(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.segs == nil {
		r.segs = map[uint64]refusal{}
	}
	x := r.segs[n]
	x.again()
	r.segs[n] = x
}

// writeOff reports whether reading the segment has been tried often and long enough.
func (r *refusedReads) writeOff(n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.segs[n]
	return x.isFinal()
}

// times returns how often the segment's reading has failed.
func (r *refusedReads) times(n uint64) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.segs[n].times
}

// done forgets a segment.
func (r *refusedReads) done(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.segs, n)
}

// watchedReader remembers whether a read failed: an Encoder's error does not tell reading from writing.
type watchedReader struct {
	r      io.ReaderAt
	failed atomic.Bool
}

func (w *watchedReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := w.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		w.failed.Store(true)
	}
	return n, err
}
