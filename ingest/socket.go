package ingest

import (
	"context"
	"errors"
	"net"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// pollEvery is how often the drop counters of idle sockets are read.
	pollEvery = time.Second
	// pollBusy is how often a busy socket's is: fine enough to tell drops during a wait for the sink from others.
	pollBusy = 10 * time.Millisecond
)

// receiver reads bursts of datagrams from one bound socket. receive and detach may be called at the same time as drops,
// and detach as receive; otherwise one at a time.
type receiver interface {
	// receive returns the datagrams that are queued. If there are none it waits for the first, or, if wait is false,
	// returns an empty burst. The burst is good until the next call.
	receive(wait bool) (burst, error)
	// drops is the kernel's count of the datagrams that it dropped at this socket; false if it does not tell.
	drops() (uint32, bool)
	// detach makes the socket deaf: datagrams that arrive from now on are not for it.
	detach() error
}

// burst is what one receive took from the socket.
type burst struct {
	recs      []segment.Record
	bytes     uint64        // of recs
	truncated segment.Tally // datagrams over the maximum, with their true length
}

func (b *burst) empty() bool { return len(b.recs) == 0 && b.truncated.Records == 0 }

// socket is one socket of a UDP listener.
type socket struct {
	conn   deadliner
	recv   receiver
	log    *limiter
	offer  put // of the sink, bound once: a method value allocates
	meter  meter
	buffer int    // granted receive buffer
	cookie uint64 // SO_COOKIE, 0 unknown
	gro    bool

	dropsKnown bool
	pollMu     sync.Mutex
	counter    uint32 // the kernel's count, as far as it is accounted
	drops      uint64 // counter without its wrap at 2^32
	polled     time.Time
	waited     time.Duration // for the sink, since polled
	waiting    time.Time     // since when serve waits for the sink, zero if it does not
}

// deadliner is what a socket needs of *net.UDPConn and *net.UnixConn.
type deadliner interface {
	net.PacketConn
	SetReadDeadline(t time.Time) error
}

// serve receives until detached, and then until nothing is left.
func (s *socket) serve(ctx context.Context, sink Sink) {
	defer s.conn.Close()
	s.offer = sink.Offer
	for failures := 0; ; {
		b, err := s.recv.receive(true)
		if err == nil {
			failures = 0
			s.take(ctx, sink, &b)
			continue
		}
		// The deadline is set by stop only, and by nothing but it does this loop end: were it a flag, the deadline could
		// still hit the reading below.
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			break
		}
		failures++
		s.log.warn("receiving failed, trying again", "addr", s.conn.LocalAddr().String(), "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(backoff(failures)):
		}
	}
	s.conn.SetReadDeadline(time.Time{})
	s.drain(ctx, sink)
	// A datagram may have been on its way into the queue when the socket became deaf.
	time.Sleep(time.Millisecond)
	s.drain(ctx, sink)
	s.poll(sink)
}

// drain reads what is queued.
func (s *socket) drain(ctx context.Context, sink Sink) {
	for failures := 0; failures < 10; {
		b, err := s.recv.receive(false)
		switch {
		case err != nil: // a soft error of the socket: what is queued is still there
			failures++
			s.log.warn("receiving failed, trying again", "addr", s.conn.LocalAddr().String(), "err", err)
		case b.empty():
			return
		default:
			s.take(ctx, sink, &b)
		}
	}
}

// take accounts for a burst and hands it to the sink.
func (s *socket) take(ctx context.Context, sink Sink, b *burst) {
	if b.empty() {
		return
	}
	now := time.Now()
	hand := segment.Tally{Records: uint64(len(b.recs)), Bytes: b.bytes}
	a := segment.Account{Received: hand}
	if b.truncated.Records > 0 {
		addTally(&a.Received, b.truncated)
		a.Lost[segment.Truncated] = segment.Loss{Records: b.truncated.Records, Bytes: b.truncated.Bytes}
		s.log.warn("datagrams over the maximum length are lost", "addr", s.conn.LocalAddr().String(),
			"records", b.truncated.Records)
	}
	s.meter.arrived(now, &a, hand)
	sink.Account(a)
	if len(b.recs) == 0 {
		return
	}
	if s.beforeWait(now) {
		s.poll(sink)
	}
	if deliver(ctx, s.offer, b.recs, s.log) {
		s.meter.handed(hand)
	}
	if now = time.Now(); s.afterWait(now) {
		s.poll(sink)
	}
}

// beforeWait and afterWait mark the time the sink takes; they return true when the drop counter is due.
func (s *socket) beforeWait(now time.Time) bool {
	s.pollMu.Lock()
	defer s.pollMu.Unlock()
	s.waiting = now
	return now.Sub(s.polled) >= pollBusy
}

func (s *socket) afterWait(now time.Time) bool {
	s.pollMu.Lock()
	defer s.pollMu.Unlock()
	s.waited += now.Sub(s.waiting)
	s.waiting = time.Time{}
	return now.Sub(s.polled) >= pollBusy
}

// poll reads the drop counter and accounts for what was added to it since the last time: to spool_full if the socket
// spent most of that time waiting for the sink, else to kernel_overflow.
func (s *socket) poll(sink Sink) {
	s.pollMu.Lock()
	defer s.pollMu.Unlock()
	now := time.Now()
	if !s.waiting.IsZero() {
		s.waited += now.Sub(s.waiting)
		s.waiting = now
	}
	cause := segment.KernelOverflow
	if 2*s.waited > now.Sub(s.polled) {
		cause = segment.SpoolFull
	}
	s.polled, s.waited = now, 0
	counter, ok := s.recv.drops()
	d := uint64(counter - s.counter)
	if !ok || d == 0 {
		return
	}
	s.counter = counter
	s.drops += d
	a := segment.Account{Received: segment.Tally{Records: d}, Socket: s.cookie, Drops: s.drops}
	a.Lost[cause] = segment.Loss{Records: d, BytesUnknown: true, AtLeast: s.gro}
	s.meter.mu.Lock()
	s.meter.count(&a)
	s.meter.mu.Unlock()
	sink.Account(a)
	s.log.warn("the kernel dropped datagrams", "addr", s.conn.LocalAddr().String(), "records", d, "cause", causeName(cause),
		"total", s.drops)
}

func causeName(c segment.Cause) string {
	if c == segment.SpoolFull {
		return "spool_full"
	}
	return "kernel_overflow"
}
