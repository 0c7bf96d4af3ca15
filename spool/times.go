package spool

import (
	"time"

	"github.com/penstock-go/penstock/internal/hist"
	"github.com/penstock-go/penstock/internal/vfs"
)

// Capacity is the total size of a resource, and how much of it is in use, in bytes. Both are 0 if they are not known.
type Capacity struct {
	Used, Size int64
}

// Latency is a histogram of durations.
type Latency struct {
	Bounds []time.Duration // the upper bounds of the buckets, ascending
	Counts []uint64        // one for each bucket, and a last one for durations above the last bound
	Sum    time.Duration   // of all durations
}

// Times has the durations of calls in this process.
type Times struct {
	// Append has the calls of Append, Offer, TryOffer and Keep, including the time for which they waited for room.
	Append Latency
	// Sync has the calls of fdatasync for the log: those for which Append waits under SyncAlways, those in the background, and
	// the one at the end of each segment.
	Sync Latency
}

// timings collects the histograms of Times.
type timings struct {
	appends, syncs *hist.Histogram
}

// quickest is the upper bound of the first bucket of timings.
const quickest = 125 * time.Microsecond

func newTimings() *timings { return &timings{hist.New(quickest), hist.New(quickest)} }

// sync syncs a file of the log and measures how long that takes.
func (t *timings) sync(f vfs.File) error {
	defer t.syncs.Since(hist.Now())
	return f.Sync()
}

func (t *timings) snapshot() Times {
	return Times{Append: Latency(t.appends.Snapshot()), Sync: Latency(t.syncs.Snapshot())}
}
