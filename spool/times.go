package spool

import (
	"time"

	"github.com/penstock-go/penstock/internal/hist"
	"github.com/penstock-go/penstock/internal/vfs"
)

// Capacity is how much there is of something, and how much of it is in use, in bytes. Both are 0 where it is not known.
type Capacity struct {
	Used, Size int64
}

// Latency is a histogram: how many times something took how long.
type Latency struct {
	Bounds []time.Duration // the upper bounds of the buckets, ascending
	Counts []uint64        // for each bucket, and at the end for those above the last bound
	Sum    time.Duration   // of all times
}

// Times has how long what took in this process.
type Times struct {
	// Append has the calls of Append, Offer, TryOffer and Keep, the time in which they waited for room included.
	Append Latency
	// Sync has the calls of fdatasync for the log: those for which Append waits under SyncAlways, those in the background, and
	// the one at the end of each segment.
	Sync Latency
}

// timings counts what Times shows.
type timings struct {
	appends, syncs *hist.Histogram
}

// quickest is the upper bound of the first bucket of timings.
const quickest = 125 * time.Microsecond

func newTimings() *timings { return &timings{hist.New(quickest), hist.New(quickest)} }

// sync is every sync of the log.
func (t *timings) sync(f vfs.File) error {
	defer t.syncs.Since(hist.Now())
	return f.Sync()
}

func (t *timings) snapshot() Times {
	return Times{Append: Latency(t.appends.Snapshot()), Sync: Latency(t.syncs.Snapshot())}
}
