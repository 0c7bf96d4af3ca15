package udprelay

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// User is the engine that receives and sends in this process.
type User struct {
	o         Options
	listeners []*ingest.UDP
	senders   chan *sender // the idle ones: one goroutine at a time uses a sender
	targets   atomic.Pointer[[]netip.AddrPort]
	used      chan struct{} // closed by the first Use
	usedOnce  sync.Once

	mu       sync.Mutex
	schedule *schedule
	in       uint64
	out      map[netip.AddrPort]uint64
	dropped  map[Cause]uint64
}

// endTime is how long Run may still send, at the end, what has arrived. After that the rest is given up.
const endTime = 10 * time.Second

// NewUser opens the sending ports, and then the receiving sockets, so that no datagram waits while thousands of ports are
// opened. The kernel queues datagrams from then on.
func NewUser(o *Options) (*User, error) {
	u := &User{o: o.withDefaults(), used: make(chan struct{}), out: newOut(), dropped: map[Cause]uint64{}}
	if err := u.o.validate(); err != nil {
		return nil, err
	}
	u.schedule = newSchedule(u.o.Ports, time.Now())
	sockets := max(1, u.o.Sockets) * len(u.o.Listen)
	u.senders = make(chan *sender, sockets)
	for i := range sockets {
		s, err := newSender(!u.o.NoHeader, u.portsOf(i, sockets))
		if err != nil {
			u.closeSenders()
			return nil, fmt.Errorf("udprelay: %w", err)
		}
		u.senders <- s
	}
	for i, l := range u.o.Listen {
		uo := &ingest.UDPOptions{Network: "udp4", Sockets: u.o.Sockets, ReceiveBuffer: u.o.ReceiveBuffer, Logger: u.o.Logger}
		if l.Addr().Is6() {
			uo.Network = "udp6"
		}
		if len(u.o.Files) > 0 {
			uo.Files = []*os.File{u.o.Files[i]}
		}
		listener, err := ingest.ListenUDP(l.String(), uo)
		if err != nil {
			u.closeSenders()
			for _, l := range u.listeners {
				err = errors.Join(err, l.Close())
			}
			return nil, fmt.Errorf("udprelay: %w", err)
		}
		u.listeners = append(u.listeners, listener)
	}
	return u, nil
}

// portsOf returns the source ports that the i-th of n senders uses.
func (u *User) portsOf(i, n int) senderPorts {
	if u.o.Mode != Generations {
		return senderPorts{}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	p := u.o.Ports
	return senderPorts{first: p.first(u.schedule.pick(time.Now())) + i, step: n, count: (p.Count - i + n - 1) / n, index: i}
}

// Use implements Engine.
func (u *User) Use(_ context.Context, targets []netip.AddrPort) error {
	local := ownAddresses()
	for _, t := range targets {
		own := t.Addr().IsLoopback() || local[t.Addr()]
		all := netip.AddrPortFrom(netip.IPv4Unspecified(), t.Port())
		if t.Addr().Is6() {
			all = netip.AddrPortFrom(netip.IPv6Unspecified(), t.Port())
		}
		if slices.Contains(u.o.Listen, t) || own && slices.Contains(u.o.Listen, all) {
			return fmt.Errorf("udprelay: target %v: the relay would send to itself", t)
		}
	}
	targets = slices.Clone(targets)
	u.targets.Store(&targets)
	u.usedOnce.Do(func() { close(u.used) })
	return nil
}

// Run implements Engine. Before the first Use datagrams wait in the receive buffer. At the end everything that has arrived is sent,
// within ten seconds; what is not sent by then is given up.
func (u *User) Run(ctx context.Context) error {
	defer u.closeSenders()
	select {
	case <-u.used:
	case <-ctx.Done():
		return u.close()
	}
	var wg sync.WaitGroup
	errs := make([]error, len(u.listeners))
	failed, fail := context.WithCancel(ctx)
	defer fail()
	for i, l := range u.listeners {
		wg.Go(func() {
			defer fail() // if one socket fails, the others send what has arrived, and the relay ends
			sink := &spreader{u: u, at: u.o.Listen[i]}
			if errs[i] = l.Serve(sink); errors.Is(errs[i], ingest.ErrServerClosed) {
				errs[i] = nil
			}
		})
	}
	err := u.wait(failed)
	wg.Wait()
	a := u.snapshot()
	u.o.Logger.Info("udprelay: end", "received", a.In, "to", len(a.Out), "delivered", a.Sent(), "lost", a.Lost())
	return errors.Join(append(errs, err)...)
}

// wait switches to the next generation of ports when that is due, until ctx ends, as it also does when a socket fails.
// Then it shuts down.
func (u *User) wait(ctx context.Context) error {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTime)
			defer cancel()
			return u.shutdown(end)
		case <-tick.C:
			if u.o.Mode == Generations {
				u.rotate()
			}
		}
	}
}

// shutdown sends what has arrived, and gives up the rest at the end of ctx. The sockets share the time.
func (u *User) shutdown(ctx context.Context) error {
	errs := make([]error, len(u.listeners))
	var wg sync.WaitGroup
	for i, l := range u.listeners {
		wg.Go(func() {
			if errs[i] = l.Shutdown(ctx); errs[i] != nil {
				errs[i] = errors.Join(errs[i], l.Close())
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// rotate switches the senders to the ports of the generation that is due.
func (u *User) rotate() {
	u.mu.Lock()
	before := u.schedule.at
	u.mu.Unlock()
	for range cap(u.senders) {
		s := <-u.senders
		p := u.portsOf(s.ports.index, cap(u.senders))
		var err error
		if p != s.ports {
			err = s.reopen(p)
		}
		u.senders <- s
		if err != nil {
			u.o.Logger.Error("udprelay: not all source ports can be opened; the targets' shares are less even", "first", p.first, "err", err)
		}
	}
	u.mu.Lock()
	now := u.schedule.at
	u.mu.Unlock()
	if now != before {
		first := u.o.Ports.first(now)
		u.o.Logger.Info("udprelay: the next generation of source ports is in use", "first", first, "last", first+u.o.Ports.Count-1)
	}
}

func (u *User) close() (err error) {
	for _, l := range u.listeners {
		err = errors.Join(err, l.Close())
	}
	return err
}

func (u *User) closeSenders() {
	for range len(u.senders) {
		(<-u.senders).close()
	}
}

// Account implements Engine.
func (u *User) Account(context.Context) (*Account, error) { return u.snapshot(), nil }

func (u *User) snapshot() *Account {
	u.mu.Lock()
	defer u.mu.Unlock()
	a := &Account{In: u.in, Out: maps.Clone(u.out), Dropped: maps.Clone(u.dropped)}
	for _, c := range []Cause{NoTarget, Queue, TooLong, Unreachable, Blocked, GivenUp} {
		a.Dropped[c] += 0
	}
	a.Passing = a.In - a.Sent() - a.Lost()
	return a
}

// spreader is the sink of a listener: it sends the records that it takes.
type spreader struct {
	u  *User
	at netip.AddrPort
}

var _ ingest.Sink = (*spreader)(nil)

// Append implements ingest.Sink.
func (s *spreader) Append(ctx context.Context, batch []segment.Record) (uint64, error) {
	return s.Offer(ctx, batch)
}

// Offer implements ingest.Sink. It takes every batch until ctx ends, and counts datagrams that it cannot send. After that it
// refuses batches, and the listener counts them as given up.
func (s *spreader) Offer(ctx context.Context, batch []segment.Record) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	var snd *sender
	select {
	case snd = <-s.u.senders:
	case <-ctx.Done():
		return 0, ctx.Err()
	}
	defer func() { s.u.senders <- snd }()
	snd.send(ctx, batch, s.at, *s.u.targets.Load())
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	for i, t := range snd.tally.targets {
		if n := snd.tally.out[i]; n > 0 {
			s.u.out[t] += n
		}
	}
	for c, n := range snd.tally.dropped {
		s.u.dropped[c] += n
	}
	return 0, nil
}

// Account implements ingest.Sink.
func (s *spreader) Account(a segment.Account) {
	s.u.mu.Lock()
	defer s.u.mu.Unlock()
	s.u.in += a.Received.Records
	for c, loss := range a.Lost {
		cause := Queue
		if segment.Cause(c) == segment.GivenUp {
			cause = GivenUp
		}
		s.u.dropped[cause] += loss.Records
	}
}
