package drain

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// errStalled is the cause with which a stalled drain ends.
var errStalled = errors.New("nothing has moved for too long")

// startUpdates updates the platforms each second until stop is called. If nothing has moved for Options.StallTimeout, it ends the
// phases, so that the report reaches the platform before the platform's time-out. The updates continue meanwhile, since verify,
// report and finish take some time, which is bounded.
func (r *run) startUpdates(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	var beating sync.WaitGroup
	var ways []chan Status
	for _, p := range r.d.platforms {
		way := make(chan Status, 1)
		ways = append(ways, way)
		beating.Go(func() {
			for at := range way {
				p.tell(ctx, r.d, at)
			}
		})
	}
	go func() {
		defer close(ended)
		defer func() {
			for _, way := range ways {
				close(way)
			}
		}()
		r.sendUpdates(ctx, ways)
	}()
	return func() {
		cancel()
		<-ended
		_ = r.bounded(ctx, time.Second, func() error { beating.Wait(); return nil })
	}
}

func (r *run) sendUpdates(ctx context.Context, ways []chan Status) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seen, moved := uint64(0), time.Now()
	for {
		p, mark, waiting := r.progress()
		if mark != seen || waiting {
			seen, moved = mark, time.Now()
		}
		r.mu.Lock()
		r.moved = moved
		r.mu.Unlock()
		if p.Idle = time.Since(moved); p.Idle >= r.d.o.StallTimeout {
			r.log.Error("drain: nothing has moved for StallTimeout; giving up", "phase", p.Phase, "idle", p.Idle)
			r.mu.Lock()
			end := r.stall
			r.mu.Unlock()
			end(errStalled)
			moved, p.Idle = time.Now(), 0
		}
		for _, way := range ways {
			select {
			case way <- p:
			default: // it is still busy with an earlier one
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// progress also returns a mark that changes when anything moves, and whether the current phase waits: then time itself
// counts as movement.
func (r *run) progress() (p Status, mark uint64, waiting bool) {
	p = r.d.progress()
	r.mu.Lock()
	p.Phase, mark = r.now, r.begun
	r.mu.Unlock()
	for _, c := range r.d.all() {
		st := c.spool.Stats()
		mark += st.Written + st.Durable + uint64(st.Segments) + uint64(st.Staged)
		for _, s := range c.Shipper.Stats() {
			mark += s.Delivered.Bytes + s.Delivered.Records + uint64(s.SentBytes) + uint64(s.Verified)
		}
	}
	mark += p.Pending.Bytes // including adoptions
	return p, mark, p.Phase == phaseQuiesce || p.Phase == phaseFinish || p.Phase == phaseRetained
}

// progress returns what is still to be delivered.
func (d *Drainer) progress() (p Status) {
	p.Destinations = map[string]DestinationStatus{}
	for _, a := range d.adoptions() {
		p.Pending.Add(a.pending())
		p.ETA = -1
	}
	for _, c := range d.all() {
		for dest, s := range c.Shipper.Stats() {
			at := p.Destinations[dest]
			at.Pending.Add(s.Pending)
			if s.State != ship.StateOK {
				at.Err = s.Err
			}
			p.Destinations[dest] = at
			p.Pending.Add(s.Pending)
			if s.ETA < 0 || p.ETA < 0 {
				p.ETA = -1
			} else {
				p.ETA = max(p.ETA, s.ETA)
			}
		}
	}
	return p
}
