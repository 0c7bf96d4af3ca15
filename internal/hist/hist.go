// Package hist counts how long things take, in a fixed number of buckets. Counting allocates nothing and takes no lock.
package hist

import (
	"sync/atomic"
	"time"
)

// Bounds is the number of buckets that have an upper bound. Each bound is twice the one before.
const Bounds = 16

// Histogram counts times. A nil *Histogram counts nothing. All methods may be called from any goroutine.
type Histogram struct {
	lowest time.Duration
	counts [Bounds + 1]atomic.Uint64
	sum    atomic.Int64
}

// New returns a Histogram whose buckets end at lowest, 2 × lowest, and so on up to 32,768 × lowest.
func New(lowest time.Duration) *Histogram { return &Histogram{lowest: lowest} }

// Add counts one time.
func (h *Histogram) Add(d time.Duration) {
	if h == nil {
		return
	}
	d = max(d, 0)
	i, bound := 0, h.lowest
	for i < Bounds && d > bound {
		i++
		bound *= 2
	}
	h.counts[i].Add(1)
	h.sum.Add(int64(d))
}

// base is the start of all measurements. time.Since(base) reads only the monotonic clock, which is never set.
var base = time.Now()

// Start is when something began: see Since.
type Start time.Duration

// Now returns the current time as a Start.
func Now() Start { return Start(time.Since(base)) }

// Time returns the time that has passed since s.
func (s Start) Time() time.Duration { return time.Since(base) - time.Duration(s) }

// Since counts the time that has passed since s.
func (h *Histogram) Since(s Start) { h.Add(s.Time()) }

// Snapshot is the state of a Histogram as plain data.
type Snapshot struct {
	Bounds []time.Duration // the upper bounds, ascending
	Counts []uint64        // for each bucket; the last one has no bound
	Sum    time.Duration   // of all times
}

// Snapshot returns a copy. A time that is being added concurrently may be in the counts but not yet in the sum.
func (h *Histogram) Snapshot() Snapshot {
	if h == nil {
		return Snapshot{}
	}
	s := Snapshot{Bounds: make([]time.Duration, Bounds), Counts: make([]uint64, Bounds+1), Sum: time.Duration(h.sum.Load())}
	for i := range s.Bounds {
		s.Bounds[i] = h.lowest << i
	}
	for i := range s.Counts {
		s.Counts[i] = h.counts[i].Load()
	}
	return s
}
