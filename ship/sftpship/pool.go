package sftpship

import (
	"context"
	"sync"
	"time"
)

// share is the number of small operations that may run at a time, per possible connection.
//
// At high latency, a small operation mostly waits for a few round trips and moves few bytes, so one connection carries
// many. A large one shares its connection with no other large one: a connection is only as fast as one core encrypts, and
// at high latency its channel's window limits it.
const share = 8

// pool bounds the connections and the operations, and keeps unused connections for a while.
//
// Operations that share a connection also share its end. If the watchdog closes it because of one, or one has not ended
// within cancelGrace after its context, the others fail too, and are repeated as after any lost connection.
type pool struct {
	most         int           // connections
	large, small chan struct{} // one token per operation under way

	mu      sync.Mutex
	all     map[*session]struct{}
	dialing int
	changed chan struct{} // closed and replaced when a connection may have become free
	closed  bool

	running sync.WaitGroup // one per session in all
}

// load is what uses a session. Guarded by pool.mu.
type load struct {
	large   bool
	small   int
	since   time.Time // it has been unused; meaningless otherwise
	retired bool      // takes no further operations, and is closed after the last
}

func (l *load) unused() bool { return !l.large && l.small == 0 }

func newPool(n int) *pool {
	return &pool{
		most: n, large: make(chan struct{}, n), small: make(chan struct{}, share*n),
		all: make(map[*session]struct{}), changed: make(chan struct{}),
	}
}

func (p *pool) tokens(large bool) chan struct{} {
	if large {
		return p.large
	}
	return p.small
}

// enter waits for a free place among the operations.
func (p *pool) enter(ctx context.Context, large bool) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.tokens(large) <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) leave(large bool) { <-p.tokens(large) }

// acquire returns the best session for an operation, or nil if the caller must dial one, and then call add or undialed.
// Unless after is zero, it returns no session that is older than that.
func (p *pool) acquire(ctx context.Context, large bool, after time.Time) (*session, error) {
	for {
		p.mu.Lock()
		if p.closed {
			p.mu.Unlock()
			return nil, errClosed
		}
		best, live := p.best(large, after)
		switch {
		case best != nil && (best.load.unused() || live+p.dialing >= p.most):
			best.load.large = best.load.large || large
			if !large {
				best.load.small++
			}
			p.mu.Unlock()
			return best, nil
		case live+p.dialing < p.most:
			p.dialing++
			p.mu.Unlock()
			return nil, nil
		}
		changed := p.changed
		p.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// best returns the session with the least to do (of unused ones, the last used), and how many live sessions there are. It
// closes unused ones from before after.
func (p *pool) best(large bool, after time.Time) (best *session, live int) {
	for s := range p.all {
		if !s.alive() {
			continue // its goroutine cleans up
		}
		if s.born.Before(after) && s.load.unused() {
			s.close() // its neighbour turned out dead, and this one is as old
			continue
		}
		live++
		if s.load.retired || s.born.Before(after) || large && s.load.large {
			continue
		}
		if best == nil || s.better(best) {
			best = s
		}
	}
	return best, live
}

// better reports whether s has less to do than other, or was used later.
func (s *session) better(other *session) bool {
	a, b := &s.load, &other.load
	switch {
	case a.unused() != b.unused():
		return a.unused()
	case a.unused():
		return a.since.After(b.since)
	case a.large != b.large:
		return !a.large
	}
	return a.small < b.small
}

// add makes a new session known, in use by one operation, so that close finds it and waits until forget.
func (p *pool) add(s *session, large bool) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	p.wake()
	if p.closed {
		return errClosed
	}
	s.born = time.Now()
	if s.load.large = large; !large {
		s.load.small = 1
	}
	p.all[s] = struct{}{}
	p.running.Add(1)
	return nil
}

// undialed gives back the connection that acquire has reserved.
func (p *pool) undialed() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing--
	p.wake()
}

// retire makes a session take no further operations.
func (p *pool) retire(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.load.retired = true
}

// put ends the use of a session by an operation. One that is not fit for another is closed as soon as nobody uses it.
func (p *pool) put(s *session, large, fit bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if large {
		s.load.large = false
	} else {
		s.load.small--
	}
	s.load.since = time.Now()
	s.load.retired = s.load.retired || !fit || p.closed
	if s.load.retired && s.load.unused() {
		s.close()
	}
	p.wake()
}

// expired retires a session that nobody has used for d.
func (p *pool) expired(s *session, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !s.load.unused() || time.Since(s.load.since) < d {
		return false
	}
	s.load.retired = true
	return true
}

// forget removes a session that has ended.
func (p *pool) forget(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, s)
	p.running.Done()
	p.wake()
}

// wake makes the callers that wait in acquire look again. The caller holds mu.
func (p *pool) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// close cuts every connection, also those in use, and waits until their goroutines have ended.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	for s := range p.all {
		s.close()
	}
	p.wake()
	p.mu.Unlock()
	p.running.Wait()
}
