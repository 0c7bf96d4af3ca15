package ingest

import (
	"context"
	"errors"
	"math"
	"net"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/giveway"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// pollBusy is how often the drop counter of a busy socket is read, before and after its sink is called. So the drops
	// while the listener waits for the sink are accounted for separately.
	pollBusy = 10 * time.Millisecond
	// longDrain is how long the queue of a socket that keeps receiving is read at the end, without the time that the sink takes:
	// far longer than reading the longest queue takes.
	longDrain = time.Second
	// longQueue defines a long queue: it fills more than 1/longQueue of the receive buffer, that is 60 ms of a buffer that holds
	// half a second. Encoders then give way, and the counter is read before and after each burst, so that they soon learn when the
	// queue is short again.
	longQueue = 8
)

// socket is one socket of a UDP listener.
type socket struct {
	conn     deadliner
	recv     receiver
	log      *limiter
	offer    put // of the sink, bound once: a method value allocates
	sink     Sink
	meter    meter
	buffer   int    // granted receive buffer
	asked    int    // requested receive buffer
	cookie   uint64 // SO_COOKIE, 0 unknown
	gro      bool
	gate     gate
	detached bool // nothing more is queued; gate.stop writes it under its lock, before serve can see the end
	late     bool // see receive
	sinkWait sinkWait
	told     toldDrops // guarded by pollMu
	hooks    *hooks

	inherited bool // an earlier process has accounted for drops of it
	shared    bool // with other processes: see UDPOptions.Files

	dropsKnown bool
	pollMu     sync.Mutex
	counter    uint32 // the kernel's count, as far as it is accounted for
	drops      uint64 // counter without its wrap at 2^32
	polled     time.Time
	pressed    bool // the queue is long
	dropsFinal bool // another process reads the socket next, and accounts for further drops
}

// deadliner is the part of *net.UDPConn and *net.UnixConn that a socket needs.
type deadliner interface {
	net.PacketConn
	SetReadDeadline(t time.Time) error
}

// describe returns the datagramAttrs of the socket.
func (s *socket) describe(o *UDPOptions) *datagramAttrs {
	return newDatagramAttrs(o.Attributes, Stream{MaxRecord: o.MaxRecord, Listener: s.conn.LocalAddr()}, &s.meter, s.log)
}

// serve receives until the socket is detached, and then until the queue is empty; or until the socket is passed to
// another process.
func (s *socket) serve(ctx context.Context) {
	defer s.conn.Close()
	for {
		closed := s.read(ctx)
		p, ending, left := s.gate.interrupted(s.conn.SetReadDeadline)
		for p != nil && !ending {
			s.setDropsFinal(true)
			p.park()
			p, ending, left = s.gate.interrupted(s.conn.SetReadDeadline)
		}
		if left {
			return
		}
		s.setDropsFinal(false)
		if ending || closed {
			s.finish(ctx)
			return
		}
	}
}

// read receives until it is interrupted. It returns true when the socket is closed.
func (s *socket) read(ctx context.Context) (closed bool) {
	for failures := 0; ; {
		b, err := s.receive(ctx, true)
		if err == nil {
			if failures > 0 {
				s.meter.fail(nil)
			}
			failures = 0
			s.handOn(ctx, &b)
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, net.ErrClosed) {
			return errors.Is(err, net.ErrClosed)
		}
		failures++
		if failures > 3 { // not an ICMP message
			s.meter.fail(err)
		}
		s.log.warn("ingest: receiving failed; will retry", "addr", s.conn.LocalAddr().String(), "err", err)
		if s.gate.interrupting() { // a receiver that always fails does not see the deadline
			return false
		}
		_ = wait.Sleep(ctx, backoff(failures))
	}
}

// finish reads the rest of the queue.
func (s *socket) finish(ctx context.Context) {
	switch {
	case s.detached:
		s.drain(ctx, math.MaxInt64)
		// A datagram may have been on its way into the queue when the socket was detached.
		time.Sleep(time.Millisecond)
		if !s.drain(ctx, math.MaxInt64) {
			s.unread()
		}
	case !s.shared: // data that arrives from now on is not counted: see UDP.stop
		if !s.drain(ctx, segment.Nanos(time.Now())) {
			s.unread()
		}
	case ctx.Err() == nil:
		s.drain(ctx, segment.Nanos(time.Now())) // the next process reads later datagrams
	}
	s.poll()
}

// unread counts the datagrams that cannot be read from a socket that is about to be closed. The kernel reports only the
// memory of the queue, which bounds the number of datagrams.
func (s *socket) unread() {
	c, ok := s.recv.counts()
	if ok && c.queued == 0 {
		return
	}
	n := uint64(c.queued+leastCharge-1) / leastCharge
	if s.gro {
		n *= mostAggregated
	}
	a := segment.Account{Received: segment.Tally{Records: n}}
	a.Lost[segment.GivenUp] = segment.Loss{Records: n, BytesUnknown: true, AtMost: true}
	s.meter.lose(&a)
	s.sink.Account(a)
	s.hooks.tell(nil, &a)
	s.log.log.Error("ingest: cannot read the socket that is being closed; the datagrams queued in it are lost", "addr", s.conn.LocalAddr().String(),
		"records_at_most", n, "known", ok)
}

// abandon ends a socket that was never served. The datagrams in its queue are counted only in Stats.
func (s *socket) abandon(ctx context.Context) {
	defer s.conn.Close()
	if s.shared || s.gate.isLeft() {
		return
	}
	s.sink, s.offer = nowhere{}, nowhere{}.Offer
	_ = s.detach() // the queue is emptied in any case
	s.finish(ctx)
}

// drain reads the queue until it is empty, or until a burst ends with a datagram that arrived after the given time; it returns
// false if reading fails. Without that limit, a socket that is not detached would never be drained under traffic. longDrain limits
// systems that do not report arrival times.
func (s *socket) drain(ctx context.Context, until int64) bool {
	reading := time.Duration(0)
	for failures := 0; failures < 10; {
		began := time.Now()
		b, err := s.receive(ctx, false)
		reading += time.Since(began)
		switch {
		case err != nil: // an error of the socket, such as an ICMP message; the queue is intact
			failures++
			s.log.warn("ingest: receiving failed; will retry", "addr", s.conn.LocalAddr().String(), "err", err)
		case b.empty():
			return true
		default:
			s.handOn(ctx, &b)
			if b.last > until || until < math.MaxInt64 && reading > longDrain {
				return true
			}
		}
	}
	return false
}

// receive calls the receiver, and notes in late whether the listener was closed before: then the burst had still been in
// the kernel.
func (s *socket) receive(ctx context.Context, wait bool) (burst, error) {
	s.late = ctx.Err() != nil
	return s.recv.receive(wait)
}

// handOn accounts for a burst and hands it to the sink.
func (s *socket) handOn(ctx context.Context, b *burst) {
	if b.empty() {
		return
	}
	now := time.Now()
	hand := segment.Tally{Records: uint64(len(b.recs)), Bytes: b.bytes}
	a := segment.Account{Received: hand}
	if b.truncated.Records > 0 {
		addTally(&a.Received, b.truncated)
		a.Lost[segment.Truncated] = segment.Loss{Records: b.truncated.Records, Bytes: b.truncated.Bytes}
		s.log.warn("ingest: datagrams over the maximum length are lost, and the ledger counts them as truncated: raise max", "addr", s.conn.LocalAddr().String(),
			"records", b.truncated.Records)
	}
	if b.proxyMalformed > 0 || b.proxyIgnored > 0 {
		s.proxied(b)
	}
	s.arrived(now, &a, hand) // before it is offered: see Sink.Account
	s.meter.heard(now, b.recs)
	s.hooks.tell(b.recs, &a)
	if len(b.recs) == 0 {
		return
	}
	s.sinkWait.start(now)
	left := deliver(ctx, s.offer, b.recs, s.log)
	after := time.Now()
	s.sinkWait.stop(now, after)
	if len(left) > 0 && !s.late {
		left = keep(s.sink, left)
	}
	s.meter.handed(hand)
	if len(left) > 0 { // Close does not wait for the sink
		a := givenUp(tally(left))
		s.meter.lose(&a)
		s.sink.Account(a)
	}
	s.pollIfDue(after)
}

// proxied counts and logs headers that are missing or not trusted.
func (s *socket) proxied(b *burst) {
	s.meter.proxy(b.proxyMalformed, b.proxyIgnored)
	addr := s.conn.LocalAddr().String()
	if b.proxyMalformed > 0 {
		s.log.warn("ingest: datagrams from a trusted proxy have no valid PROXY header; they are kept unchanged", "addr", addr, "records", b.proxyMalformed)
	}
	if b.proxyIgnored > 0 {
		s.log.warn(ignoredHeader, "addr", addr, "records", b.proxyIgnored)
	}
}

// detach makes the kernel stop delivering to the socket, unless other processes read from it too.
func (s *socket) detach() error {
	if s.shared {
		return nil
	}
	err := s.recv.detach()
	s.detached = err == nil
	return err
}

// attach sets the sink, before serve is called.
func (s *socket) attach(sink Sink) {
	s.sink, s.offer = sink, sink.Offer
	if !s.inherited {
		return
	}
	drops := uint64(0)
	if b, ok := find[DropBaseline](sink); ok {
		// If the kernel's counter is lower, the baseline is of another socket, since cookies restart when the machine
		// does; or the counter has wrapped.
		c, _ := s.recv.counts()
		if drops = b.SocketDrops(s.cookie); drops > uint64(c.drops) && drops <= math.MaxUint32 {
			drops = 0
		}
	}
	s.pollMu.Lock() // for Stats
	s.counter, s.drops = uint32(drops), drops
	s.pollMu.Unlock()
	sink.Account(segment.Account{Socket: s.cookie, Drops: drops}) // so that the spool knows the socket even if it stays quiet
}

// arrived accounts for a burst that is about to be offered. It accounts for earlier drops first, so that they are not
// attributed to a wait for the sink.
func (s *socket) arrived(now time.Time, a *segment.Account, hand segment.Tally) {
	s.pollIfDue(now)
	s.pollMu.Lock()
	defer s.pollMu.Unlock()
	a.Socket, a.Drops = s.cookie, s.drops
	s.meter.arrived(now, a, hand)
	s.sink.Account(*a)
}

func (s *socket) pollIfDue(now time.Time) {
	s.pollMu.Lock()
	due := s.pressed || now.Sub(s.polled) >= pollBusy
	s.pollMu.Unlock()
	if due {
		s.poll()
	}
}

// poll accounts for the datagrams that the kernel has dropped since the last poll.
func (s *socket) poll() {
	s.pollMu.Lock()
	d := s.pollLocked()
	s.pollMu.Unlock()
	s.tellDropped(d)
}

// tellDropped calls the hooks with n datagrams that the kernel has dropped.
func (s *socket) tellDropped(n uint64) {
	if n > 0 && s.hooks != nil {
		a := s.dropped(n)
		s.hooks.tell(nil, &a)
	}
}

// dropped returns the account of n datagrams that the kernel has dropped.
func (s *socket) dropped(n uint64) segment.Account {
	a := segment.Account{Received: segment.Tally{Records: n}}
	a.Lost[segment.KernelOverflow] = segment.Loss{Records: n, BytesUnknown: true, AtLeast: s.gro}
	return a
}

// setDropsFinal makes the account of drops final, because another process reads the socket next, or undoes that.
func (s *socket) setDropsFinal(final bool) {
	d := uint64(0)
	s.pollMu.Lock()
	if final {
		d = s.pollLocked()
	}
	s.dropsFinal = final
	s.pollMu.Unlock()
	s.tellDropped(d)
}

// accounted is how many of the socket's drops are accounted for.
func (s *socket) accounted() uint64 {
	s.pollMu.Lock()
	defer s.pollMu.Unlock()
	return s.drops
}

// pollLocked returns how many drops are new. s.pollMu is held.
func (s *socket) pollLocked() uint64 {
	if s.dropsFinal {
		return 0
	}
	s.polled = time.Now()
	s.told.waited = max(s.told.waited, s.sinkWait.sinceLast(s.polled))
	c, ok := s.recv.counts()
	if s.pressed = ok && s.buffer > 0 && int(c.queued) > s.buffer/longQueue; s.pressed {
		giveway.Behind()
	}
	d := uint64(c.drops - s.counter) // the kernel's counter has 32 bits
	if !ok || d == 0 {
		return 0
	}
	s.counter = c.drops
	s.drops += d
	a := s.dropped(d)
	a.Socket, a.Drops = s.cookie, s.drops
	s.meter.lose(&a)
	s.sink.Account(a)
	s.tellDrops()
	return d
}
