package ship

import (
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// DestinationStats is a snapshot of one destination.
type DestinationStats struct {
	State State
	// Err is the last failure, nil if there was none. It is kept after the recovery.
	Err error
	// Since when the State is not ok; zero when it is.
	Since time.Time
	// NextAttempt is when the first of the failing operations is tried again; zero when there is none.
	NextAttempt time.Time
	// Failures counts the failed attempts of all operations in this process, by kind.
	Failures map[Failure]uint64
	// LastSuccess is when the destination last confirmed an object or a manifest to this process; zero if it has not.
	LastSuccess time.Time
	// Chain is the state of the chain of manifests.
	Chain spool.Chain
	// Delivered is what the chain covers, over the spool's life.
	Delivered segment.Tally
	// Pending is what the chain does not cover yet, including records that are not sealed.
	Pending         segment.Tally
	PendingSegments int // sealed ones
	// Oldest is when the oldest pending segment began; zero if nothing is pending. The time since then is the lag.
	Oldest time.Time
	// SentBytes counts the stored bytes that the destination has confirmed to this process.
	SentBytes int64
	// Verified counts the objects and manifests that destinations have confirmed to Verify in this process: it shows the
	// progress of a long Verify.
	Verified int64
	// Panics counts the calls of the Destination, and of the Signer and the Hooks for it, that have panicked in this process.
	Panics uint64
	// Untold counts the calls that Hooks have missed because they were too slow.
	Untold uint64
	// BytesPerSecond of payload, over the last half minute.
	BytesPerSecond float64
	// ETA is how long it takes until Pending is empty at that rate; 0 if it is empty, negative if nothing is being delivered.
	ETA time.Duration
	// Put has the durations of all calls of Destination.Put, including failed ones; Verify has those of the requests that
	// Verify makes.
	Put, Verify spool.Latency
}

// Stats returns a snapshot by name of destination. It is cheap enough to be called every second.
func (s *Shipper) Stats() map[string]DestinationStats {
	st, ledger := s.sp.Snapshot()
	lanes := s.all()
	all := make(map[string]DestinationStats, len(lanes))
	for _, l := range lanes {
		d := DestinationStats{Delivered: ledger.Destinations[l.name].Tally, Pending: st.Pending[l.name], Oldest: st.Oldest[l.name]}
		l.stats(&d)
		all[l.name] = d
	}
	return all
}

func (l *lane) stats(d *DestinationStats) {
	l.record.show(d)
	l.mu.Lock()
	defer l.mu.Unlock()
	d.State, d.Err, d.SentBytes, d.Verified = l.condition(), l.last, l.sent, l.confirmed.Load()
	d.Panics, d.Untold, d.Chain = l.panics.Load(), l.hooks.untold(), l.chain
	if d.State != StateOK {
		d.Since = l.since
	}
	for _, t := range l.troubles {
		if d.NextAttempt.IsZero() || t.next.Before(d.NextAttempt) {
			d.NextAttempt = t.next
		}
	}
	d.PendingSegments = l.backlog.count(l.s.sp)
	d.BytesPerSecond = l.meter.perSecond(time.Now())
	switch {
	case d.Pending.Bytes == 0:
	case d.BytesPerSecond < 1:
		d.ETA = -1
	default:
		d.ETA = time.Duration(min(float64(d.Pending.Bytes)/d.BytesPerSecond, 1e9) * float64(time.Second))
	}
}

// backlog counts the sealed segments after a cursor without listing all of them each time.
type backlog struct {
	seen uint64 // the last segment counted
	n    int
}

// count looks at the segments that are new since the last call.
func (b *backlog) count(sp *spool.Spool) int {
	if fresh := sp.Shelf().Sealed(b.seen, 0); len(fresh) > 0 {
		b.seen = fresh[len(fresh)-1].Number
		b.n += len(fresh)
	}
	return b.n
}

// follow advances the cursor to a segment, past these deliveries of the window.
func (b *backlog) follow(to uint64, window []*delivery) {
	if len(window) == 0 || to > b.seen || window[len(window)-1].seg.Number != to {
		*b = backlog{seen: to} // the cursor jumped past segments that were not in the window: count again
		return
	}
	b.n -= len(window)
}
