package foreign

import (
	"errors"
	"sync"
	"time"
)

// MaxTold is how many calls of a Teller may wait.
const MaxTold = 4096

// Teller calls an embedder's hooks on a goroutine of their own, one after the other and in order, so that a hook that is
// slow, hangs or panics delays nothing. The goroutine exists only while there is something to call. If MaxTold calls wait,
// further ones are dropped and counted.
type Teller struct {
	panicked func(*PanicError)

	mu      sync.Mutex
	waiting []func()
	running bool
	dropped uint64
	idle    chan struct{} // closed when the goroutine ends; nil without one
}

// NewTeller returns a Teller that reports panics to panicked.
func NewTeller(panicked func(*PanicError)) *Teller { return &Teller{panicked: panicked} }

// Tell has call called soon; false if it is dropped.
func (t *Teller) Tell(call func()) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) >= MaxTold {
		t.dropped++
		return false
	}
	t.waiting = append(t.waiting, call)
	if !t.running {
		t.running, t.idle = true, make(chan struct{})
		go t.run()
	}
	return true
}

// Dropped returns how many calls were dropped.
func (t *Teller) Dropped() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

// Wait waits until nothing waits to be called, at most for d.
func (t *Teller) Wait(d time.Duration) {
	t.mu.Lock()
	idle := t.idle
	t.mu.Unlock()
	if idle == nil {
		return
	}
	late := time.NewTimer(d)
	defer late.Stop()
	select {
	case <-idle:
	case <-late.C:
	}
}

func (t *Teller) run() {
	for calls := t.take(); len(calls) > 0; calls = t.take() {
		for _, call := range calls {
			err := Catch("", func() error { call(); return nil })
			if p, ok := errors.AsType[*PanicError](err); ok {
				t.panicked(p)
			}
		}
	}
}

// take returns the calls that wait. Without any, the goroutine has ended.
func (t *Teller) take() []func() {
	t.mu.Lock()
	defer t.mu.Unlock()
	calls := t.waiting
	t.waiting = nil
	if len(calls) == 0 {
		t.running = false
		close(t.idle)
		t.idle = nil
	}
	return calls
}
