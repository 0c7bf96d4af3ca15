package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// ErrServerClosed is what Serve returns after Shutdown or Close.
var ErrServerClosed = errors.New("ingest: listener closed")

// errNoName is returned if package net has no address for a socket because the system refuses getsockname(2).
var errNoName = errors.New("getsockname(2) is refused, most likely by a seccomp profile or a sandbox: allow it")

// settleTime is how long a read waits for data that may be in transit inside this host, on systems that do not report
// whether there is any. It is also the least time that the peer of a connection has to receive an acknowledgement.
const settleTime = 20 * time.Millisecond

// errServing is returned by the second call of Serve.
var errServing = errors.New("ingest: Serve was called before")

// Listener is what UDP and TCP have in common. Its life cycle is that of a server of net/http.
type Listener interface {
	// Serve receives records into sink until Shutdown or Close, and then returns ErrServerClosed. It may be called once.
	Serve(sink Sink) error
	// Shutdown stops taking new input, hands everything that was received to the sink, and returns nil when the sink
	// has taken all of it. If ctx ends first, it returns an error that wraps ctx.Err() and says how much is in hand and
	// in the sockets; the listener continues to try, and Shutdown may be called again. Shut listeners down before the
	// spool is closed, since they retry a closed spool indefinitely.
	Shutdown(ctx context.Context) error
	// Close ends the listener without waiting for the sink. The listener reads what is in its sockets, and counts it and
	// what is in hand as lost (given_up). If other processes share the sockets, it counts only what is in hand. A
	// listener that was never served has no sink for its account, so the counts are only in its Stats.
	Close() error
	// Ready returns nil, or why the listener cannot receive at present: Serve has not begun, or the system refuses to let it
	// read or accept, which the listener retries.
	Ready() error
	// Addr is the bound address.
	Addr() net.Addr
	// Stats is a snapshot, cheap enough to poll each second.
	Stats() Stats
}

// life is the life cycle of a listener. stop is the listener's own part of it and is called once: it makes Serve
// return, or releases the sockets if Serve was never called.
type life struct {
	stop func(serving bool)

	// ctx is canceled by Close, which cancels calls of the sink.
	ctx    context.Context
	cancel context.CancelFunc
	done   chan struct{} // closed when Serve has returned, or can no longer be called

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

// errNotServing is why a listener is not ready before Serve. Senders that wait for readiness must not send yet: if Shutdown is
// called before Serve, there is no sink to take their records, which are lost.
var errNotServing = errors.New("ingest: not serving yet")

// ready returns errNotServing before Serve is called, and failed afterwards.
func (l *life) ready(failed error) error {
	if !l.isServing() {
		return errNotServing
	}
	return failed
}

// startServing claims the only call of Serve. After stop there is nothing left to serve.
func (l *life) startServing() error {
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

// endServing is called by Serve when everything that it started has ended.
func (l *life) endServing() error {
	l.cancel()
	close(l.done)
	return ErrServerClosed
}

// halt calls stop, once.
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
func (l *life) shutdown(ctx context.Context, who string, stats func() Stats, failed func() error) error {
	l.halt()
	// Shutdown waits for the end and does not force it: a caller that wants to give up what is in hand calls Close.
	select {
	case <-l.done:
	case <-ctx.Done():
		st := stats()
		return fmt.Errorf("ingest: %s: shutdown: %w: %d records (%d bytes) in hand that the sink has not taken, %d bytes in sockets",
			who, ctx.Err(), st.InHand.Records, st.InHand.Bytes, st.Queued)
	}
	st := stats()
	if n := st.Lost[segment.GivenUp]; n.Records > 0 {
		return fmt.Errorf("ingest: %s: shutdown: %w with %d records (%d bytes) given up", who, ErrServerClosed, n.Records, n.Bytes)
	}
	if err := failed(); err != nil { // what was queued could not be read
		return fmt.Errorf("ingest: %s: shutdown: %w", who, err)
	}
	return nil
}

// notReady returns why nothing can be received through a socket.
func notReady(addr net.Addr, m *meter) error {
	if err := m.failed(); err != nil {
		return fmt.Errorf("ingest: %s %s: nothing can be received: %w", addr.Network(), addr, explain(err))
	}
	return nil
}

// warnGivenUp logs, when a listener ends, which records it lost because it did not wait for the sink.
func warnGivenUp(log *slog.Logger, addr net.Addr, meters ...*meter) {
	var s Stats
	for _, m := range meters {
		s.add(m)
	}
	if n := s.Lost[segment.GivenUp]; n.Records > 0 {
		log.Error("ingest: listener was closed before the sink had taken everything; records are lost, and its Stats count them: use Shutdown, which waits", "addr", addr.String(),
			"records", n.Records, "bytes", n.Bytes, "at_most", n.AtMost, "at_least", n.AtLeast)
	}
}

// close implements Listener.Close.
func (l *life) close() {
	l.cancel()
	l.halt()
	<-l.done
}
