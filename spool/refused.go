package spool

import (
	"errors"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// A disk may refuse to return what it holds. For a while it is asked again; then what it refuses is written off as damage
// and everything else goes its way: one bad sector must hold back neither the start nor the records around it.
//
// That the whole disk may be away instead is no danger. What is written off counts once the file that is made without it,
// and its record, have been synced, on the same disk.
const (
	refusals   = 5           // so often a segment's reading has to fail before
	refusedFor = time.Minute // and for so long
	// openTries is how often a read that fails while a spool is opened is tried, openPause the time between: nobody calls
	// again to whom another error would mean "later".
	openTries = 3
	openPause = time.Second
)

// refused reports whether an error is the disk's: it did not return what it was asked for.
func refused(err error) bool {
	if statefile.Denied(err) {
		return false
	}
	for _, known := range []error{segment.ErrCorrupt, segment.ErrVersion, ErrCorrupt, statefile.ErrNewer, fs.ErrNotExist} {
		if errors.Is(err, known) {
			return false
		}
	}
	return err != nil
}

// persist calls read until the disk answers, the last time with the leave to skip what it refuses.
func persist[T any](read func(skip bool) (T, error)) (T, error) {
	for range openTries - 1 {
		v, err := read(false)
		if !refused(err) {
			return v, err
		}
		time.Sleep(openPause)
	}
	v, err := read(false)
	if refused(err) {
		v, err = read(true)
	}
	return v, err
}

// scan is segment.Scan for recovery.
func scan(f io.ReaderAt, size int64, o segment.ReadOptions) (*segment.ScanResult, error) {
	return persist(func(skip bool) (*segment.ScanResult, error) {
		o.SkipUnreadable = skip
		res, err := segment.Scan(f, size, &o)
		if err == nil && skip {
			res.End = segment.Align(size) // what is written to it goes behind what may come back
		}
		return res, err
	})
}

// newReader is segment.NewReader for recovery.
func newReader(f io.ReaderAt, size int64, o segment.ReadOptions) (*segment.Reader, error) {
	return persist(func(skip bool) (*segment.Reader, error) {
		o.SkipUnreadable = skip
		return segment.NewReader(f, size, &o)
	})
}

// refusedReads remembers of which segments the disk does not return everything.
type refusedReads struct {
	mu   sync.Mutex
	segs map[uint64]refusal
}

type refusal struct {
	times int
	since time.Time
}

// note counts a reading that failed.
func (r *refusedReads) note(n uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.segs == nil {
		r.segs = map[uint64]refusal{}
	}
	x := r.segs[n]
	if x.times++; x.times == 1 {
		x.since = time.Now()
	}
	r.segs[n] = x
}

// writeOff reports whether reading the segment has been tried often and long enough.
func (r *refusedReads) writeOff(n uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.segs[n]
	return x.times >= refusals && time.Since(x.since) >= refusedFor
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
