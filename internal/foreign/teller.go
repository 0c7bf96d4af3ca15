package foreign

import (
	"errors"
	"sync"
	"time"
)

// MaxTold is how many calls of a Teller may wait.
const MaxTold = 4096

// Teller calls an embedder's hooks in order, one at a time, on a separate goroutine, so that a hook that is slow, hangs or
// panics delays nothing. The goroutine exists only while calls are waiting. If MaxTold calls wait, further calls are dropped
// and counted. The zero Teller is ready for use.
type Teller struct {
	mu      sync.Mutex
	waiting []told
	dropped uint64
	idle    chan struct{} // closed when the goroutine ends; nil without one
}

// told is a waiting call.
type told struct {
	call     func()
	panicked func(*PanicError)
}

// Tell queues call; it returns false if the call is dropped. If call panics or ends its goroutine, panicked is called.
func (t *Teller) Tell(call func(), panicked func(*PanicError)) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) >= MaxTold {
		t.dropped++
		return false
	}
	t.waiting = append(t.waiting, told{call, panicked})
	if t.idle == nil {
		t.idle = make(chan struct{})
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

// Wait waits until no call is waiting, at most for d.
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

// run makes the waiting calls. If one ends the goroutine, as testing.T.FailNow does, the others are made on a new goroutine.
func (t *Teller) run() {
	c, more := t.next()
	defer func() {
		if more {
			c.panicked(&PanicError{Value: errGoexit})
			go t.run()
		}
	}()
	for ; more; c, more = t.next() {
		err := Catch("", func() error { c.call(); return nil })
		if p, ok := errors.AsType[*PanicError](err); ok {
			c.panicked(p)
		}
	}
}

// next returns the call that has waited longest. If there is none, the goroutine ends.
func (t *Teller) next() (c told, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		close(t.idle)
		t.waiting, t.idle = nil, nil
		return c, false
	}
	c, t.waiting[0] = t.waiting[0], c
	t.waiting = t.waiting[1:]
	return c, true
}
