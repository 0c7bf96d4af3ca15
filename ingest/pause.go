package ingest

import (
	"context"
	"sync"
	"time"
)

// past is a deadline that interrupts at once.
var past = time.Unix(1, 0)

// gate interrupts a goroutine that reads from a socket, for a pause or permanently. It does so by a deadline on the
// socket, and only under mu. So the interrupted goroutine can remove the deadline and know that no later deadline will
// interrupt it while it reads what is left.
type gate struct {
	mu     sync.Mutex
	pause  *pause
	ending bool
	left   bool // another process owns the socket: leave it open at the end
}

// pause is one stop of all goroutines of a listener.
type pause struct {
	parked chan struct{} // receives one value from each goroutine
	over   chan struct{} // closed when they may go on
}

// pausing is the current pause of a listener, if there is one.
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

// pauseFor interrupts the goroutine for a pause. It returns false if the goroutine is ending: then it will not park.
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

// resume ends the pause. A goroutine that was interrupted but is not parked yet then has nothing to wait for.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ending {
		g.pause, g.left = nil, false
	}
}

// stop interrupts the goroutine permanently, after calling first, which may be nil.
func (g *gate) stop(first func(), deadline func(time.Time) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending, g.pause = true, nil
	if first != nil {
		first()
	}
	deadline(past)
}

// leave makes the goroutine leave the socket as it is when it ends. It returns false if the goroutine is ending already.
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

// interrupted removes the deadline and returns what it was for: a pause, the end, or a pause that is over already.
func (g *gate) interrupted(deadline func(time.Time) error) (p *pause, ending, left bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	deadline(time.Time{})
	return g.pause, g.ending, g.left
}

// park waits for the end of the pause. Close ends the pause too.
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
