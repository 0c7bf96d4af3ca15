package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("ingest: listener closed")

// errServing: Serve may be called once.
var errServing = errors.New("ingest: Serve was called before")

// Listener is what UDP and TCP have in common, in the words of net/http.
type Listener interface {
	// Serve receives records into sink until Shutdown or Close, and then returns ErrServerClosed. It may be called once.
	Serve(sink Sink) error
	// Shutdown stops taking new input, hands everything that was received to the sink, and returns nil when all of it
	// was taken. When ctx ends first, it returns an error that wraps ctx.Err() and says how much is still in hand; the
	// listener goes on trying, and Shutdown may be called again. Before Serve there is no sink, so what is queued goes
	// with the sockets. Listeners are to be shut down before the spool is closed: they try a closed one for ever.
	Shutdown(ctx context.Context) error
	// Close ends at once: what is in hand is given up and shows as Stats.InHand for good.
	Close() error
	// Addr is the bound address.
	Addr() net.Addr
	// Stats is a snapshot, cheap enough to poll each second.
	Stats() Stats
}

var (
	_ Listener = (*UDP)(nil)
	_ Listener = (*TCP)(nil)
)

// life is the life cycle of a listener. stop is the listener's own part of it: called once, it makes Serve come to its
// end by itself, or releases the sockets if Serve was never called.
type life struct {
	stop func(serving bool)

	// ctx ends with Close: it is how a sink call is given up.
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when Serve has returned, or never will be called

	mu      sync.Mutex
	serving bool
	stopped bool
}

func newLife(stop func(serving bool)) *life {
	l := &life{stop: stop, done: make(chan struct{})}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

func (l *life) isServing() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.serving
}

// begin claims the only Serve. After stop it is too late: there is nothing left to serve.
func (l *life) begin() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.stopped:
		return ErrServerClosed
	case l.serving:
		return errServing
	}
	l.serving = true
	return nil
}

// end is called by Serve when everything it started has ended.
func (l *life) end() error {
	l.cancel()
	close(l.done)
	return ErrServerClosed
}

// halt begins the end, once.
func (l *life) halt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.stopped {
		return
	}
	l.stopped = true
	l.stop(l.serving)
	if !l.serving {
		l.cancel()
		close(l.done)
	}
}

// shutdown implements Listener.Shutdown.
func (l *life) shutdown(ctx context.Context, who string, stats func() Stats) error {
	l.halt()
	// The end is waited for here, and not enforced: who wants to give up what is in hand calls Close.
	select {
	case <-l.done:
	case <-ctx.Done():
		n := stats().InHand
		return fmt.Errorf("ingest: %s: shutdown: %w: %d records (%d bytes) in hand that the sink has not taken", who,
			ctx.Err(), n.Records, n.Bytes)
	}
	// After a Close, which is the only way that Serve ends with something in hand.
	if n := stats().InHand; n.Records > 0 {
		return fmt.Errorf("ingest: %s: shutdown: %w with %d records (%d bytes) in hand", who, ErrServerClosed, n.Records, n.Bytes)
	}
	return nil
}

// close implements Listener.Close.
func (l *life) close() {
	l.cancel()
	l.halt()
	<-l.done
}
