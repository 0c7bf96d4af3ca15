package ingest

import (
	"context"
	"os"
	"sync"
	"time"
)

// estate is what a listener leaves to a successor.
type estate struct {
	files  []*os.File        // duplicates of its sockets
	shared bool              // with somebody besides, such as systemd
	drops  map[uint64]uint64 // by SO_COOKIE: how many of a socket's drops are accounted for
}

func (e *estate) close() {
	for _, f := range e.files {
		f.Close()
	}
}

// movable is a Listener that can be handed over: see HandOver.
type movable interface {
	// pause makes the listener stop reading from sockets that others are going to read, and returns when it has: what it
	// had read is with the sink, and its account of drops is final. The sockets stay open and go on queueing.
	pause(ctx context.Context) (*estate, error)
	// resume takes pause back, also one that failed.
	resume()
	// leave makes the end of the listener one that leaves its sockets to whom they were given. It returns false if the
	// listener has ended before.
	leave() bool
	// halt begins the end.
	halt()
}

var (
	_ movable = (*UDP)(nil)
	_ movable = (*TCP)(nil)
)

// past is a deadline that interrupts at once.
var past = time.Unix(1, 0)

// gate is where a goroutine that reads from a socket can be stopped, to go on later or to end. Both are done by a deadline
// on the socket, and only ever under mu: so that the one who was interrupted can take it away and know that none comes
// after the last one, which would hit the reading of what is left.
type gate struct {
	mu     sync.Mutex
	pause  *pause
	ending bool
	left   bool // ending, and the socket is somebody else's
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

func (p *pausing) begin(n int) *pause {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = &pause{parked: make(chan struct{}, n), over: make(chan struct{})}
	return p.now
}

// end lets go who is parked.
func (p *pausing) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.now != nil {
		close(p.now.over)
		p.now = nil
	}
}

// shut interrupts for a pause. It returns false at the end, when nobody will come by any more.
func (g *gate) shut(p *pause, deadline func(time.Time) error) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ending {
		return false
	}
	g.pause = p
	deadline(past)
	return true
}

// open ends the pause; who is interrupted and not parked yet finds nothing to wait for.
func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ending {
		g.pause, g.left = nil, false
	}
}

// end interrupts for good, after first, which may be nil.
func (g *gate) end(first func(), deadline func(time.Time) error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ending, g.pause = true, nil
	if first != nil {
		first()
	}
	deadline(past)
}

// leave makes the end, which is to follow, one that leaves the socket as it is; false if it has come already.
func (g *gate) leave() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left = !g.ending
	return g.left
}

// wanted reports that whoever reads is to come by.
func (g *gate) wanted() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pause != nil || g.ending
}

// isLeft reports that the socket is somebody else's.
func (g *gate) isLeft() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.left
}

// interrupted takes the deadline away and says what it was for: a pause, the end, or one that has passed already.
func (g *gate) interrupted(deadline func(time.Time) error) (p *pause, ending, left bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	deadline(time.Time{})
	return g.pause, g.ending, g.left
}

// park waits for the end of the pause, which a Close ends too.
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
