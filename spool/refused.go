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

// A disk may fail to read data that it holds. The rule is the same everywhere. The read is retried for a while; then the unreadable
// part is written off as damage, and everything else is processed: one bad sector must block neither the start nor the
// records around it.
//
// It does no harm if the whole disk is temporarily unavailable instead. A part is written off only when the file that is made
// without it, and its stage record, have been synced, on the same disk.
//
// An open spool returns the error and counts it: its callers retry anyway. Callers of Open do not, so Open itself pauses and retries,
// but for a shorter time, because listeners wait for it. It decides as little as possible: an unreadable part of a segment may become
// readable later, and staging decides about it. All other reads of an open spool return their error and decide nothing: see
// Shelf.ReadSealed.
const (
	refusals   = 5           // how often a read must fail before its data is written off
	refusedFor = time.Minute // for how long it must fail before that
	// openTries is how often a read that fails while a spool is opened is tried, openPause the time between.
	openTries = 3
	openPause = time.Second
	// openPatience limits the sum of all pauses of one Open. A disk that was unavailable returns for all files at once: if it has
	// not after a minute of pauses, a pause for each of a thousand files would only keep the spool closed for half an hour.
	openPatience = refusedFor
)

// refused reports whether an error is a failed read of the disk.
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

// patience is how long one Open may still pause. It is used by one goroutine. A nil patience never pauses.
type patience struct {
	left time.Duration
	log  *slog.Logger
}

func newPatience(log *slog.Logger) *patience { return &patience{openPatience, log} }

// pause waits before a read is retried, unless no time is left for pauses.
func (p *patience) pause() {
	if p == nil || p.left <= 0 {
		return
	}
	time.Sleep(openPause)
	if p.left -= openPause; p.left <= 0 && p.log != nil {
		p.log.Error("spool: the disk has refused many reads during this start; the start no longer pauses before it tries one again, so that records are received soon: see what the disk reports")
	}
}

// persist calls read until the read succeeds or fails for another reason than the disk. The last call has skip set, and may skip the
// unreadable part.
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
			res.End = segment.Align(size) // further writes must not overwrite the part that may become readable again
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

// refusedReads remembers the segments of which the disk cannot read everything.
type refusedReads struct {
	mu   sync.Mutex
	segs map[uint64]refusal
}

// refusal counts the failed reads of one file.
type refusal struct {
	times int
	since time.Time
	// unasked: after the last of them, a destination that may have the file's contents could not be asked, and should be asked again:
	// see Shelf.NoteUnasked.
	unasked bool
}

// again counts one more failed read.
func (r *refusal) again() {
	if r.times++; r.times == 1 {
		r.since = time.Now()
	}
}

// isFinal reports whether the reads have failed often and long enough to write the data off.
func (r *refusal) isFinal() bool { return r.times >= refusals && time.Since(r.since) >= refusedFor }

// isLost is isFinal for contents that are damaged or gone here, so only a destination may still return them. Once all destinations
// have answered, time changes nothing.
func (r *refusal) isLost() bool { return r.times >= refusals && !r.unasked }

// note counts a failed read of a segment.
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

// writeOff is isFinal for a segment.
func (r *refusedReads) writeOff(n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.segs[n]
	return x.isFinal()
}

// isLost is refusal.isLost for a segment. If the answer is no, the caller asks the destinations again.
func (r *refusedReads) isLost(n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	x, ok := r.segs[n]
	if x.isLost() {
		return true
	}
	if ok {
		x.unasked = false
		r.segs[n] = x
	}
	return false
}

// noteUnasked records that a destination could not be asked for a lost segment. It gets the time that a disk gets, and is asked once
// more at the end of that time: with long pauses between the attempts, it may be back since the last one.
func (r *refusedReads) noteUnasked(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if x, ok := r.segs[n]; ok {
		x.unasked = time.Since(x.since) < refusedFor
		r.segs[n] = x
	}
}

// done forgets a segment.
func (r *refusedReads) done(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.segs, n)
}

// watchedReader remembers whether a read failed: an Encoder's error does not show whether reading or writing has failed.
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
