package ingest

import (
	"context"
	"sync"
	"time"
)

// past is a deadline that interrupts at once.
var past = time.Unix(1, 0)

// gate is where a goroutine that reads from a socket can be stopped, to continue later or to end. Both are done by a
// deadline on the socket, and only under mu: so the goroutine that was interrupted can remove the deadline and know
// that no later one will interrupt its reading of what is left.
type gate struct {
	mu     sync.Mutex
	pause  *pause
	ending bool
	left   bool // ending, and the socket belongs to another process
}

// pause is one stop of all goroutines of a listener.
type pause struct {
	parked chan struct{} // receives one from each
	over   chan struct{} // closed when they may go on
}

// pausing is the pause that a listener is in, if it is.
type pausing struct {
	mu  sync.Mutex
	now *pause
}

func (p *pausing) start(n int) *pause {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = &pause{parked: make(chan struct{}, n), over: make(chan struct{})}
	return p.now
}

// resume lets all parked goroutines go on.
func (p *pausing) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		close(p.now.over)
		p.now = nil
	}
}

// pauseFor interrupts for a pause. It returns false if the goroutine is ending: it will not come by again.
func (g *gate) pauseFor(p *pause, deadline func(time.Time) error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending {
		return false
	}
	g.pause = p
	deadline(past)
	return true
}

// resume ends the pause; a goroutine that is interrupted and not parked yet finds nothing to wait for.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ending {
		g.pause, g.left = nil, false
	}
}

// stop interrupts permanently, after calling first, which may be nil.
func (g *gate) stop(first func(), deadline func(time.Time) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending, g.pause = true, nil
	if first != nil {
		first()
	}
	deadline(past)
}

// leave makes the end that follows leave the socket as it is; false if the end has come already.
func (g *gate) leave() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = !g.ending
	return g.left
}

// interrupting reports that the reading goroutine is asked to pause or end.
func (g *gate) interrupting() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pause != nil || g.ending
}

// isLeft reports that the socket belongs to another process.
func (g *gate) isLeft() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// interrupted removes the deadline and says what it was for: a pause, the end, or a pause that has passed already.
func (g *gate) interrupted(deadline func(time.Time) error) (p *pause, ending, left bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	deadline(time.Time{})
	return g.pause, g.ending, g.left
}

// park waits for the end of the pause. A Close ends it too.
func (p *pause) park() {
	p.parked <- struct{}{}
	<-p.over
}

// wait returns when n goroutines are parked.
func (p *pause) wait(ctx context.Context, n int) error {
	for range n {
		select {
		case <-p.parked:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}
