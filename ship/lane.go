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

// lane delivers to one destination: it uploads a window of segments in parallel, and writes the chain that lists them in
// order. Lanes share only the staged files, so none can delay another.
type lane struct {
	s    *Shipper
	name string
	dest Guarded
	// checks: the Destination is a Checker.
	checks bool
	limits []*Limiter
	log    *slog.Logger

	mu sync.Mutex // guards all that follows; nothing that can block is called under it
	// chain is a copy of the spool's, which is authoritative: it is read back after each acknowledgement.
	chain  spool.Chain
	window []*delivery // ascending; they follow chain.Segment without a hole
	final  bool        // a final manifest is wanted
	closed bool        // a final manifest was written: nothing may follow it in this process
	// prepared: chain is where the chain at the destination ends, see prepareChain.
	prepared bool
	health
	meter    meter
	backlog  backlog
	attempts attempts
	record   *record
	hooks    *hooks
	sent     int64 // stored bytes that the destination has confirmed to this process

	confirmed atomic.Int64 // objects and manifests, by Verify
	panics    atomic.Uint64
}

// delivery is a segment in a lane's window. Guarded by lane.mu. Only this process knows that it is done: after a restart it
// is uploaded again, and Put finds its own object.
type delivery struct {
	seg     spool.Segment
	rec     *spool.StageRecord // nil for a segment without records
	receipt Receipt
	done    bool // verified there, or nothing to deliver
	waits   bool // for room in the spool, see awaitTurn
	// rest is the segment's first record that the chain does not contain yet, 0 if it contains none. If rest is after
	// the segment's last record, only the segment's end is owed.
	rest  uint64
	whole *Whole // the complete segment, if only its rest is owed
	// stated: a chain that this spool left lists the segment's records, and only its losses are owed.
	stated bool
}

func newLane(s *Shipper, name string, dest Destination, limits []*Limiter) (*lane, error) {
	chain, err := s.sp.Shelf().Chain(name)
	if err != nil {
		return nil, err
	}
	l := &lane{s: s, name: name, limits: limits, log: s.log.With("destination", name), chain: chain}
	l.record = newRecord()
	l.hooks = newHooks(l)
	l.dest = recorded{Guard(dest, l.notePanic), l.record, l.hooks}
	_, l.checks = dest.(Checker)
	l.backlog.seen = chain.Segment
	l.health.init()
	l.before = s.sp.Shelf().Down(name)
	return l, nil
}

// run ships to this destination until ctx ends or the spool is closed.
func (l *lane) run(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { l.checkDestination(ctx) })
	// One goroutine for each pair, so that a dead peer delays no other head.
	for _, peer := range l.s.all() {
		if peer != l {
			wg.Go(func() { l.tellHeads(ctx, peer) })
		}
	}

	var err error
	for {
		// If another owner was quicker, the next session begins with that owner's manifests.
		if err = l.session(ctx); ctx.Err() != nil || !isTaken(err) && !errors.Is(err, errMoved) {
			break
		}
		l.endTroubles()
	}
	cancel(err)
	return context.Cause(ctx)
}

// session ships until the chain continues in another epoch or identity, or until nothing more can be done.
func (l *lane) session(ctx context.Context) error {
	// Until the chain shows who writes it, no data and no head is sent: if its state was lost, the spool knows only where the
	// chain should end, not where it does.
	l.setPrepared(false)
	if err := l.prepareChain(ctx); err != nil {
		return err
	}
	l.setPrepared(true)
	ctx, cancel := context.WithCancelCause(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { l.fillWindow(ctx, cancel) })
	cancel(l.writeChain(ctx))
	wg.Wait()
	l.mu.Lock()
	l.window = nil // objects that were uploaded ahead are found again
	l.mu.Unlock()
	return context.Cause(ctx)
}

// ahead is how much may be uploaded ahead of the chain, in weights. It bounds what is repeated after a crash, and how many
// staged files are kept for an unreachable destination.
func (l *lane) ahead() int { return 2 * l.s.o.Workers * smallPerWorker }

// fillWindow keeps the window full and delivers it, oldest segments first, since the chain needs them in that order. It
// returns when every delivery has ended. Each delivery has its own goroutine, so an idle lane has none: a service may have
// many lanes, most of them idle.
func (l *lane) fillWindow(ctx context.Context, cancel context.CancelCauseFunc) {
	var deliveries sync.WaitGroup
	defer deliveries.Wait()
	places := newPlaces(l.s.o.Workers)
	for {
		wake, sealed := l.s.changed.Next(), l.s.sp.Shelf().Changed()
		for _, d := range l.extendWindow() {
			if d.done {
				continue
			}
			size := weight(d.seg.Bytes)
			if !places.enter(ctx, size) {
				return
			}
			deliveries.Go(func() {
				// It fails only if nothing more can be done for this destination.
				if err := l.deliver(ctx, d); err != nil {
					cancel(err)
				}
				places.leave(size)
			})
		}
		select {
		case <-wake:
		case <-sealed:
		case <-ctx.Done():
			return
		}
	}
}

// extendWindow adds the next segments to the window, as many as there is room for, and returns them. Segments without records
// are done at once, but stay in the window, since the chain must state their losses in order.
func (l *lane) extendWindow() []*delivery {
	l.mu.Lock()
	defer l.mu.Unlock()
	after, room := l.chain.Segment, l.ahead()-weights(l.window)
	if n := len(l.window); n > 0 {
		after = l.window[n-1].seg.Number
	}
	if room <= 0 || l.chain.Final {
		return nil // after `final` nothing may follow in this epoch
	}
	from := len(l.window)
	for _, seg := range l.s.sp.Shelf().Sealed(after, room) {
		if room -= weight(seg.Bytes); room < 0 {
			break
		}
		l.window = append(l.window, l.newDelivery(seg))
	}
	if len(l.window) > from {
		l.s.changed.Broadcast()
	}
	return slices.Clone(l.window[from:])
}

// newDelivery returns what the destination is owed of a segment. l.mu is held.
func (l *lane) newDelivery(seg spool.Segment) *delivery {
	d := &delivery{seg: seg, done: seg.Records == 0}
	switch c := &l.chain; {
	case c.Stated && seg.Number > c.Segment && seg.First <= c.Through:
		d.seg.Records, d.seg.Bytes, d.stated, d.done = 0, 0, true, true
	case seg.First <= seg.Last && seg.First <= c.Through:
		d.rest, d.whole = c.Through+1, &Whole{First: seg.First, Gaps: seg.Gaps}
	}
	return d
}

// checkDestination finds out at the start whether the destination is usable. Uploads do not wait for it, but without any,
// only this check shows that they would fail. It ends with the first success. The driver bounds the time of an attempt,
// because it sees whether its peer makes progress: over a slow line, a dozen round trips may exceed any fixed time. A missing
// answer is logged within 10 s.
func (l *lane) checkDestination(ctx context.Context) {
	if !l.checks {
		return
	}
	err := l.retry(ctx, "check", func(ctx context.Context) error {
		told := make(chan struct{})
		late := time.AfterFunc(checkNotice, func() {
			defer close(told)
			l.log.Warn("ship: the destination has not answered the check for 8 s; still waiting (the line may be slow; otherwise check address, network and firewall)")
			l.noteUnanswered("check", errNoAnswer)
		})
		err := l.dest.Check(ctx)
		if !late.Stop() {
			<-told // the warning must be noted before the result of Check
		}
		return err
	})
	if err != nil {
		return
	}
	l.mu.Lock()
	l.endOutage()
	l.mu.Unlock()
	l.log.Info("ship: destination is usable; records are sent to it as segments are sealed")
}

// checkNotice is after how long an unanswered check is logged.
const checkNotice = 8 * time.Second

var errNoAnswer = errors.New("no answer within 8 s: check address, network and firewall")

// noteUnanswered counts an operation in progress as trouble, until it succeeds or fails.
func (l *lane) noteUnanswered(what string, err error) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, ok := l.troubles[what]; ok {
		return // it has failed before
	}
	l.beginOutage(now)
	l.troubles[what] = trouble{state: StateRetrying, err: err, next: now}
	l.last = err
	l.s.changed.Broadcast()
}
