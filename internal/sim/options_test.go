package sim

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool"
)

// options are the options of a process.
type options struct {
	spool spool.Options
	ship  ship.Options
	third bool // deliver to destination c too
	fleet bool // the process runs on an instance of an Auto Scaling group
}

// optionsOf returns the options for a number: 0 has the defaults, other numbers draw some deviations.
func optionsOf(n int64) options {
	o := options{
		spool: spool.Options{
			Class: "c", SegmentBytes: 64 << 10, SegmentAge: 5 * time.Second, MaxBytes: 16 << 20, MemoryBytes: 1 << 20,
			StageReserve: 256 << 10,
		},
		ship: ship.Options{Format: format.NDJSON, Codec: "none", Backoff: backoff()},
	}
	if n == 0 {
		return o
	}
	r := rand.New(rand.NewPCG(uint64(n), 7))
	maybe := func(p float64, f func()) {
		if hit := r.Float64() < p; hit {
			f()
		}
	}
	maybe(0.5, func() { o.spool.Sync = spool.SyncPolicy(r.IntN(3)) })
	maybe(0.2, func() { o.spool.SyncInterval = time.Duration(1+r.IntN(2000)) * time.Millisecond })
	maybe(0.3, func() { o.spool.SegmentBytes = 128 << 10 })
	maybe(0.4, func() { o.spool.SegmentAge = time.Duration(1+r.IntN(60)) * time.Second })
	maybe(0.3, func() { o.spool.MaxBytes = 1 << 20 })
	maybe(0.1, func() { o.spool.MemoryBytes = 2 << 20 })
	maybe(0.1, func() { o.spool.OnFull = spool.Reject })
	maybe(0.3, func() { o.ship.Format = []string{format.Lines, format.Native}[r.IntN(2)] })
	maybe(0.4, func() { o.ship.Codec = []string{"gzip", "zstd", "s2", "lz4"}[r.IntN(4)] })
	maybe(0.2, func() { o.ship.Workers = 1 })
	maybe(0.2, func() { o.third = true })
	maybe(0.25, func() { o.fleet = true })
	return o
}

// backoff returns ship.Backoff without jitter, so that the same life takes the same time, plus a few nanoseconds that are
// unique in the process: in a bubble, timers that end at the same time do so in random order.
func backoff() func(int, float64) time.Duration {
	var n atomic.Int64
	return func(attempt int, _ float64) time.Duration {
		return ship.Backoff(attempt, 0.5) + time.Duration(n.Add(1))
	}
}
