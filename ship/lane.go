package ship

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/spool"
)

// lane is the way to one destination: a window of segments that are being uploaded in parallel, and the chain that
// follows them in order. It shares nothing with the other lanes but the staged files, so that none can delay another.
type lane struct {
	s    *Shipper
	name string
	dest Destination
	log  *slog.Logger

	mu     sync.Mutex
	chain  spool.Chain
	window []*delivery // ascending; they follow chain.Segment without a hole
	final  bool        // a final manifest is wanted
	health
	meter   meter
	backlog backlog
	sent    int64 // stored bytes that the destination has confirmed to this process

	confirmed atomic.Int64 // objects and manifests, by Verify
}

// delivery is a segment on its way. Guarded by lane.mu.
type delivery struct {
	seg     spool.Segment
	rec     *spool.StageRecord // nil for a segment without records
	receipt Receipt
	done    bool // verified there, or nothing to deliver
}

func newLane(s *Shipper, name string, dest Destination) (*lane, error) {
	chain, err := s.sp.Chain(name)
	if err != nil {
		return nil, err
	}
	l := &lane{s: s, name: name, dest: dest, log: s.log.With("dest", name), chain: chain}
	l.backlog.seen = chain.Segment
	l.health.init()
	return l, nil
}

// run ships to this destination until ctx ends, the spool is closed, or the chain turns out to be another owner's.
func (l *lane) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.check(ctx) })
	for _, peer := range l.s.lanes {
		if peer != l {
			wg.Go(func() { l.tellHeads(ctx, peer) })
		}
	}

	// Nothing is sent before the chain says who writes it.
	err := l.begin(ctx)
	if err == nil {
		todo := make(chan *delivery)
		wg.Go(func() { l.fill(ctx, todo) })
		for range l.s.o.Workers {
			wg.Go(func() {
				for d := range todo {
					if err := l.deliver(ctx, d); err != nil {
						cancel(err)
					}
				}
			})
		}
		err = l.writeChain(ctx)
	}
	cancel(err)
	if err = context.Cause(ctx); errors.Is(err, ErrFenced) {
		l.fence(err)
	}
	return err
}

// ahead is how many segments may be ahead of the chain.
func (l *lane) ahead() int { return 2 * l.s.o.Workers }

// fill keeps the window full, oldest segments first.
func (l *lane) fill(ctx context.Context, todo chan<- *delivery) {
	defer close(todo)
	for {
		wake, sealed := l.s.changed.wait(), l.s.sp.Changed()
		for _, d := range l.extend() {
			if d.done {
				continue
			}
			select {
			case todo <- d:
			case <-ctx.Done():
				return
			}
		}
		select {
		case <-wake:
		case <-sealed:
		case <-ctx.Done():
			return
		}
	}
}

// extend adds the segments that are next to the window, as many as there is room for, and returns them.
func (l *lane) extend() []*delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	after, room := l.chain.Segment, l.ahead()-len(l.window)
	if n := len(l.window); n > 0 {
		after = l.window[n-1].seg.Number
	}
	if room <= 0 || l.chain.Final {
		return nil
	}
	from := len(l.window)
	for _, seg := range l.s.sp.Sealed(after, room) {
		l.window = append(l.window, &delivery{seg: seg, done: seg.Records == 0})
	}
	if len(l.window) > from {
		l.s.changed.broadcast()
	}
	return slices.Clone(l.window[from:])
}

// check tells within 10 s of the start whether the destination is usable. Uploads do not wait for it.
func (l *lane) check(ctx context.Context) {
	c, ok := l.dest.(Checker)
	if !ok {
		return
	}
	err := l.retry(ctx, "check", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, errNoAnswer)
		defer cancel()
		err := c.Check(ctx)
		if err != nil && context.Cause(ctx) == errNoAnswer {
			err = errors.Join(errNoAnswer, err)
		}
		return err
	})
	if err == nil {
		l.log.Info("ship: destination is usable")
	}
}

const checkTimeout = 8 * time.Second

var errNoAnswer = errors.New("no answer within 8 s: look at address, network and firewall")
