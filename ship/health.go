package ship

import (
	"context"
	"errors"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool"
)

// State of a destination.
type State string

// The states, from good to bad.
const (
	StateOK       State = "ok"
	StateRetrying State = "retrying" // failing, and tried again with back-off
	StateParked   State = "parked"   // failing in a way that an operator must cure; probed now and then
	StateConflict State = "conflict" // a key is taken by other bytes: the chain stops there until they are removed
	StateFenced   State = "fenced"   // another owner continues the chain: nothing more is sent
)

// rank orders the states; a destination is as bad as its worst trouble.
var rank = map[State]int{StateOK: 0, StateRetrying: 1, StateParked: 2, StateConflict: 3, StateFenced: 4}

// conflictProbes is how many probe intervals pass before a conflict is looked at again: that reads the whole object.
const conflictProbes = 20

// rushProbes is the longest wait while somebody waits for the delivery.
const rushProbes = 5 * time.Second

// health is what a lane knows of its destination. Guarded by lane.mu.
//
// Every operation retries by itself and indefinitely; health only adds up how they fare. There is no circuit breaker that
// could stay open by mistake: the waits are capped, so that even a window full of failing uploads asks a dead
// destination no more than some times a minute.
type health struct {
	// troubles are the operations that have failed and wait to be tried again, by what they do.
	troubles map[string]trouble
	outage
	last   error // the last failure, kept when it is over
	fenced error
	reset  wait.Signal // everything is to be tried now
	alive  wait.Signal // something has succeeded again
}

type trouble struct {
	state State
	err   error
	next  time.Time // when it is tried again
}

func (h *health) init() { h.troubles, h.worst = map[string]trouble{}, StateOK }

// condition returns the worst trouble's.
func (h *health) condition() State {
	if h.fenced != nil {
		return StateFenced
	}
	worst := StateOK
	for _, t := range h.troubles {
		if rank[t.state] > rank[worst] {
			worst = t.state
		}
	}
	return worst
}

// retry calls op until it succeeds. It gives up, with the error, only when ctx ends, when the spool is closed or when
// the chain is another owner's. what names the operation and is its own in this lane.
func (l *lane) retry(ctx context.Context, what string, op func(context.Context) error) error {
	hurry := true
	for attempt := 1; ; attempt++ {
		// Before the attempt, so that a signal during it is not missed.
		reset, alive := l.reset.Next(), l.alive.Next()
		err := op(ctx)
		switch {
		case err == nil:
			l.noteSuccess(what)
			return nil
		case ctx.Err() != nil:
			return ctx.Err() // its error speaks of the end, not of the destination
		case errors.Is(err, ErrFenced), errors.Is(err, spool.ErrClosed):
			return err
		}
		if !hurry {
			alive = nil
		}
		event, err := wait.For(ctx, l.noteFailure(what, attempt, err), alive, reset)
		switch {
		case err != nil:
			return err
		case event == 0:
			// The destination is back: do not sleep through it. Only once, though: if this operation alone keeps failing,
			// the success of others must not drive it.
			hurry = false
		case event == 1:
			attempt, hurry = 0, true
		}
	}
}

// pause is the wait after the given failed attempt at this destination. An Options.Backoff that panics is replaced by the
// default.
func (l *lane) pause(attempt int) (d time.Duration) {
	rnd := rand.Float64()
	err := foreign.Catch("Options.Backoff", func() error { d = l.s.o.Backoff(attempt, rnd); return nil })
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		l.notePanic(err, p.Stack)
		d = Backoff(attempt, rnd)
	}
	return max(d, time.Millisecond) // whatever Options.Backoff says
}

// noteFailure notes and logs a failure, and returns how long to wait. The log names the first failure and every turn for the
// worse at once, and then one a minute, however many operations fail.
func (l *lane) noteFailure(what string, attempt int, err error) time.Duration {
	state, pause := StateRetrying, l.pause(attempt)
	switch {
	case errors.Is(err, ErrConflict):
		state, pause = StateConflict, conflictProbes*l.s.o.ProbeInterval
	case IsPermanent(err):
		state, pause = StateParked, l.s.o.ProbeInterval
	}
	if l.s.rush.active() {
		// Whatever is in the way may go away while somebody still waits, and the end of that time is a deadline.
		pause = min(pause, rushProbes)
	}
	now := time.Now()
	l.record.failed(err)
	l.hooks.noteRetried(what, attempt, err, pause)
	l.mu.Lock()
	l.beginOutage(now)
	l.troubles[what] = trouble{state, err, now.Add(pause)}
	l.last = err
	due, o := l.outage.note(state, l.condition(), now), l.outage
	l.mu.Unlock()
	l.s.changed.Broadcast()
	if due {
		l.logFailure(what, state, err, pause, o)
	}
	return pause
}

// beginOutage begins the clock of an outage with the first trouble, or lets that of the process before go on. l.mu is held.
func (l *lane) beginOutage(now time.Time) {
	if len(l.troubles) > 0 {
		return
	}
	l.outage.begin(now)
	l.s.sp.Shelf().SetDown(l.name, l.since)
}

// endOutage ends the clock of an outage: something got through. l.mu is held.
func (l *lane) endOutage() {
	if len(l.troubles) > 0 { // of other operations
		return
	}
	l.before = time.Time{}
	l.s.sp.Shelf().SetDown(l.name, l.before)
}

// noteSuccess notes a success, and wakes what waits if it is the first since a failure.
func (l *lane) noteSuccess(what string) {
	l.mu.Lock()
	if len(l.troubles) == 0 {
		l.mu.Unlock()
		return
	}
	delete(l.troubles, what)
	well, o := len(l.troubles) == 0, l.outage
	if well {
		l.worst = StateOK
		l.endOutage()
	}
	l.mu.Unlock()
	l.alive.Broadcast()
	l.s.changed.Broadcast()
	if well && o.failures > 0 {
		l.logRecovery(o)
	}
}

// endTroubles ends the troubles of a session that is over: nothing tries its operations again, and another owner's manifest, for which
// it has ended, may cover what they were to deliver. The check alone goes on.
func (l *lane) endTroubles() {
	l.mu.Lock()
	over := slices.DeleteFunc(slices.Collect(maps.Keys(l.troubles)), func(what string) bool { return what == "check" })
	l.mu.Unlock()
	for _, what := range over {
		l.noteSuccess(what)
	}
}

// retryNow makes everything that waits be tried now. A drain that slept through the end of an outage would fail for
// nothing.
func (l *lane) retryNow() {
	l.mu.Lock()
	for what, t := range l.troubles {
		// Not hopeless any more until it has failed once more: who waits for this destination must wait for that.
		t.state, t.next = StateRetrying, time.Now()
		l.troubles[what] = t
	}
	l.worst = StateOK
	l.mu.Unlock()
	l.reset.Broadcast()
	l.s.changed.Broadcast()
}

// fence ends the shipping to this destination in this process: another adopter does it.
func (l *lane) fence(err error) {
	l.record.failed(err)
	l.mu.Lock()
	l.fenced, l.last = err, err
	l.mu.Unlock()
	l.s.changed.Broadcast()
	l.log.Error("ship: another owner delivers this spool; this process sends nothing to the destination: find the other owner, and let only one process have this spool or a copy of its volume", "err", err)
}

// isFenced reports whether nothing more is tried here.
func (l *lane) isFenced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced != nil
}
