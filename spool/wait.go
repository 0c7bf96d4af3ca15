package spool

import (
	"context"
	"fmt"
	"math"

	"github.com/penstock-go/penstock/internal/wait"
)

// checkContext refuses a nil context.
func checkContext(ctx context.Context) error {
	if err := wait.CheckContext(ctx); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	return nil
}

// waiter is a parked goroutine. Waiters are reused: a new channel for each call would be the only
// allocation in an append.
type waiter struct {
	seq   uint64
	ready chan struct{} // holds one token
}

// noMark is the seq of goroutines that do not wait for a particular record.
const noMark = 0

// waitList holds parked goroutines in the order in which they were parked.
type waitList struct{ parked []*waiter }

// wake releases all goroutines that wait for a seq up to mark, and returns how many they were.
func (l *waitList) wake(mark uint64) (woken int) {
	n := 0
	for _, w := range l.parked {
		if w.seq <= mark {
			w.ready <- struct{}{}
			continue
		}
		l.parked[n] = w
		n++
	}
	woken = len(l.parked) - n
	clear(l.parked[n:])
	l.parked = l.parked[:n]
	return woken
}

func (l *waitList) wakeAll() { l.wake(math.MaxUint64) }

// wakeOne releases the goroutine that has waited longest.
func (l *waitList) wakeOne() {
	if len(l.parked) == 0 {
		return
	}
	l.parked[0].ready <- struct{}{}
	n := copy(l.parked, l.parked[1:])
	l.parked[n] = nil
	l.parked = l.parked[:n]
}

func (l *waitList) remove(w *waiter) bool {
	for i, p := range l.parked {
		if p == w {
			l.parked = append(l.parked[:i], l.parked[i+1:]...)
			return true
		}
	}
	return false
}

// park waits on l until it is woken, for seq or for another reason: callers must check their condition again. j.mu is held at call
// and return.
func (j *journal) park(ctx context.Context, l *waitList, seq uint64) (err error) {
	var w *waiter
	if n := len(j.idle); n > 0 {
		w, j.idle = j.idle[n-1], j.idle[:n-1]
	} else {
		w = &waiter{ready: make(chan struct{}, 1)}
	}
	w.seq = seq
	l.parked = append(l.parked, w)
	j.mu.Unlock()
	select {
	case <-w.ready:
		j.mu.Lock()
	case <-ctx.Done(): // nil for context.Background, which is never ready
		j.mu.Lock()
		err = fmt.Errorf("spool: %w", context.Cause(ctx))
		if !l.remove(w) {
			// This goroutine was woken at the same moment, perhaps to take over a role: wake another one instead.
			<-w.ready
			l.wakeOne()
		}
	}
	j.idle = append(j.idle, w)
	return err
}

// role is a task that one goroutine at a time does for all goroutines that wait for its result. The first goroutine that needs the
// result takes the role itself: passing the work to a dedicated goroutine would cost each commit two switches. For a crowd see relays.
type role struct {
	busy    bool
	waiting waitList // for the result of the work
	claims  waitList // for the role itself
	work    func()   // called without j.mu
}

// acquire waits for the role. j.mu is held at call and return.
func (j *journal) acquire(r *role) {
	if !r.busy {
		r.busy = true
		return
	}
	_ = j.park(context.Background(), &r.claims, noMark) // release leaves the role busy for the goroutine that it wakes
}

// release passes the role to a goroutine that claims it, or to the relay. Otherwise it frees the role and wakes a waiting goroutine,
// which decides whether to take it.
func (j *journal) release(r *role) {
	if len(r.claims.parked) > 0 {
		r.claims.wakeOne()
		return
	}
	if r == &j.syncer && j.relays() {
		wake(j.relay)
		return
	}
	r.busy = false
	r.waiting.wakeOne()
}

// await returns once *mark has reached seq. It does r's work itself whenever no other goroutine does. j.mu is held at call and
// return.
func (j *journal) await(ctx context.Context, r *role, mark *uint64, seq uint64) error {
	for *mark < seq {
		if j.failed != nil && (j.closed || !(j.noSpace && j.opts.OnFull.waits())) { // after Close there is no retry
			return j.failed
		}
		if !r.busy && j.failed == nil {
			j.do(r)
			continue
		}
		if r == &j.syncer && j.writesAhead() {
			j.do(&j.writer)
			continue
		}
		if err := j.park(ctx, &r.waiting, seq); err != nil {
			return err
		}
	}
	return nil
}

// do takes a free role, and does its work. j.mu is held at call and return.
func (j *journal) do(r *role) {
	r.busy = true
	j.mu.Unlock()
	r.work()
	j.mu.Lock()
	j.release(r)
}
