package sftpship

import (
	"context"
	"slices"
	"sync"
	"time"
)

// pool bounds the connections and keeps the idle ones.
//
// One operation at a time has a connection, although SSH could carry many: so the end of one operation, by its context or
// by the watchdog, may cut the connection and harms no other. It is faster, too: a connection is as fast as one core
// encrypts, and its channel's window bounds it over a long line.
type pool struct {
	slots chan struct{} // one token per operation under way

	mu     sync.Mutex
	all    map[*session]struct{}
	idle   []*session // most recently used last
	closed bool

	running sync.WaitGroup // one per session in all
}

func newPool(n int) *pool {
	return &pool{slots: make(chan struct{}, n), all: make(map[*session]struct{})}
}

// enter waits for a free slot. Slots are taken before connections are: who has one may dial.
func (p *pool) enter(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case p.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (p *pool) leave() { <-p.slots }

// take returns the idle session that was used last, nil if there is none.
func (p *pool) take() (*session, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	for n := len(p.idle); n > 0; n = len(p.idle) {
		s := p.idle[n-1]
		p.idle = p.idle[:n-1]
		if s.alive() {
			return s, nil
		}
		// The server closed it meanwhile; its goroutine cleans up.
	}
	return nil, nil
}

// add makes a new session known, so that close finds it and waits until forget.
func (p *pool) add(s *session) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return errClosed
	}
	p.all[s] = struct{}{}
	p.running.Add(1)
	return nil
}

// put returns a session for reuse.
func (p *pool) put(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		s.close() // close found it in use and has cut it already; this marks it
		return
	}
	s.idle = time.Now()
	p.idle = append(p.idle, s)
}

// expired removes a session from the idle ones if it has been there for d.
func (p *pool) expired(s *session, d time.Duration) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.Index(p.idle, s)
	if i < 0 || time.Since(s.idle) < d {
		return false
	}
	p.idle = slices.Delete(p.idle, i, i+1)
	return true
}

// forget removes a session that has ended.
func (p *pool) forget(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.all, s)
	p.running.Done()
	if i := slices.Index(p.idle, s); i >= 0 {
		p.idle = slices.Delete(p.idle, i, i+1)
	}
}

// close cuts every connection, also those in use, and waits until their goroutines have ended.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	p.idle = nil
	for s := range p.all {
		s.close()
	}
	p.mu.Unlock()
	p.running.Wait()
}
