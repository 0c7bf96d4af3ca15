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

// rank orders the states: the worst trouble of a destination determines its state.
var rank = map[State]int{StateOK: 0, StateRetrying: 1, StateParked: 2, StateConflict: 3, StateFenced: 4}

// conflictProbes is how many probe intervals pass before a conflict is checked again, since that reads the whole object.
const conflictProbes = 20

// rushProbes is the longest wait between attempts during a rush, that is while Flush or Finalize waits.
const rushProbes = 5 * time.Second

// health is a lane's view of its destination. Guarded by lane.mu.
//
// Every operation retries by itself and indefinitely; health only collects the results. There is no circuit breaker that
// could stay open by mistake: with capped waits, even a full window of failing uploads tries a dead destination only a few
// times a minute.
type health struct {
	// troubles are the operations that have failed and wait to be tried again, by name.
	troubles map[string]trouble
	outage
	last   error // the last failure, kept after the recovery
	fenced error
	reset  wait.Signal // all operations are to be retried now
	alive  wait.Signal // an operation has succeeded after a failure
}

type trouble struct {
	state State
	err   error
	next  time.Time // when it is tried again
}

func (h *health) init() { h.troubles, h.worst = map[string]trouble{}, StateOK }

// condition returns the state of the worst trouble.
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

// retry calls op until it succeeds. It gives up, with the error, only when ctx ends, when the spool is closed, or when
// another owner continues the chain. what names the operation and is unique within the lane.
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
			return ctx.Err() // op failed because ctx ended, not because of the destination
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
			// The destination works again, so retry now. But only once: if this operation alone fails, the success of others
			// must not drive it.
			hurry = false
		case event == 1:
			attempt, hurry = 0, true
		}
	}
}

// pause returns the wait after the given failed attempt at this destination. An Options.Backoff that panics is replaced by
// the default.
func (l *lane) pause(attempt int) (d time.Duration) {
	rnd := rand.Float64()
	err := foreign.Catch("Options.Backoff", func() error { d = l.s.o.Backoff(attempt, rnd); return nil })
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		l.notePanic(err, p.Stack)
		d = Backoff(attempt, rnd)
	}
	return max(d, time.Millisecond) // whatever Options.Backoff says
}

// noteFailure notes a failure and returns how long to wait. It logs it only if outage.note asks for it, to keep the log
// short.
func (l *lane) noteFailure(what string, attempt int, err error) time.Duration {
	state, pause := StateRetrying, l.pause(attempt)
	switch {
	case errors.Is(err, ErrConflict):
		state, pause = StateConflict, conflictProbes*l.s.o.ProbeInterval
	case IsPermanent(err):
		state, pause = StateParked, l.s.o.ProbeInterval
	}
	if l.s.rush.active() {
		// The cause may disappear while a caller waits, and that caller has a deadline.
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

// beginOutage starts the clock of an outage at the first trouble, or continues that of the previous process. l.mu is held.
func (l *lane) beginOutage(now time.Time) {
	if len(l.troubles) > 0 {
		return
	}
	l.outage.begin(now)
	l.s.sp.Shelf().SetDown(l.name, l.since)
}

// endOutage stops the clock of an outage, because something has succeeded. l.mu is held.
func (l *lane) endOutage() {
	if len(l.troubles) > 0 { // of other operations
		return
	}
	l.before = time.Time{}
	l.s.sp.Shelf().SetDown(l.name, l.before)
}

// noteSuccess notes a success. If any operation was in trouble, it wakes the operations that wait.
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

// endTroubles ends the troubles of a session that is over: nothing tries its operations again, and another owner's manifest may
// cover what they were to deliver. Only the check continues.
func (l *lane) endTroubles() {
	l.mu.Lock()
	over := slices.DeleteFunc(slices.Collect(maps.Keys(l.troubles)), func(what string) bool { return what == "check" })
	l.mu.Unlock()
	for _, what := range over {
		l.noteSuccess(what)
	}
}

// retryNow makes all waiting operations retry at once, so that no drain sleeps through the end of an outage and fails.
func (l *lane) retryNow() {
	l.mu.Lock()
	for what, t := range l.troubles {
		// No longer parked or in conflict until the next failure: a caller that waits for this destination must wait for that
		// attempt.
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

// isFenced reports whether this process sends nothing more to the destination.
func (l *lane) isFenced() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fenced != nil
}
