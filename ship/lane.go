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
	dest Guarded
	// checks: the Destination is a Checker.
	checks bool
	limits []*Limiter
	log    *slog.Logger

	mu sync.Mutex // guards all that follows; nothing that can block is called under it
	// chain is a copy of the spool's, which is the truth: it is read back after each acknowledgement.
	chain  spool.Chain
	window []*delivery // ascending; they follow chain.Segment without a hole
	final  bool        // a final manifest is wanted
	closed bool        // and was written: nothing may follow it in this process
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

// delivery is a segment on its way. Guarded by lane.mu. That it is done is known to this process only: after a restart it
// is uploaded again, meets its own object, and is done.
type delivery struct {
	seg     spool.Segment
	rec     *spool.StageRecord // nil for a segment without records
	receipt Receipt
	done    bool // verified there, or nothing to deliver
	waits   bool // for room in the spool, see awaitTurn
	// rest is where the part of the segment begins that the chain does not contain yet, 0 for all of it. After its
	// last record, only its end is owed.
	rest  uint64
	whole *Whole // what it is the rest of
	// stated: a chain that this spool left names its records, and only the losses are owed.
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
		// Where another owner was quicker, the next session begins with what that one has written.
		if err = l.session(ctx); ctx.Err() != nil || !isTaken(err) && !errors.Is(err, errMoved) {
			break
		}
		l.endTroubles()
	}
	cancel(err)
	return context.Cause(ctx)
}

// session ships until the chain goes on elsewhere, or nothing more can be done at all.
func (l *lane) session(ctx context.Context) error {
	// Nothing is sent before the chain says who writes it, and no head told: what is known of a lost chain state until then is
	// where the chain must end, and not where it does.
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
	l.window = nil // what was uploaded ahead is met again
	l.mu.Unlock()
	return context.Cause(ctx)
}

// ahead is how much may be ahead of the chain, in weights. It bounds what is repeated after a crash, and how many staged
// files an unreachable destination keeps.
func (l *lane) ahead() int { return 2 * l.s.o.Workers * smallPerWorker }

// fillWindow keeps the window full and has it delivered, oldest segments first, since the chain needs them in that order. It
// returns when every delivery has ended. A goroutine lives as long as its delivery: a service may have many lanes, of which most
// are idle.
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
				// It only fails when nothing more can be done here at all.
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

// extendWindow adds the segments that are next to the window, as many as there is room for, and returns them. Segments without
// records are done at once; their losses still have to be told in their place.
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

// newDelivery is what the destination is owed of a segment. l.mu is held.
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

// checkDestination tells at the start whether the destination is usable. Uploads do not wait for it, but without any to do it is what
// finds out that they would fail. It ends with the first success. How long an attempt may take is the driver's to know, who
// sees whether its peer makes progress: over a long line, a dozen round trips take longer than any fixed time. That there is
// no answer yet is said within 10 s.
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
			<-told // before what Check says is noted, not after
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

// checkNotice is after which time a check that goes on is named in the log.
const checkNotice = 8 * time.Second

var errNoAnswer = errors.New("no answer within 8 s: check address, network and firewall")

// noteUnanswered makes an operation that is under way count as trouble, until it succeeds or fails.
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
