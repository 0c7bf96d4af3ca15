package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// MaxDatagram is the length in bytes that every UDP datagram fits into.
const MaxDatagram = 65535

// UDPOptions configure a UDP listener. The zero value of every field means its documented default.
type UDPOptions struct {
	// Network is "udp" (default), "udp4", "udp6", or "unixgram", whose address is a path.
	Network string
	// Sockets is the number of SO_REUSEPORT sockets, each with a goroutine and a receive buffer of its own; default 1.
	// The kernel puts all datagrams of a flow, that is of one pair of addresses and ports, on one socket: more sockets
	// help where there are more flows. More than 1 needs Linux. They share their port with nobody else.
	Sockets int
	// ReceiveBuffer is what each socket asks for, in bytes; default 64 MiB, about 100,000 datagrams of 512 bytes. The
	// kernel grants more than net.core.rmem_max only with CAP_NET_ADMIN, and net.ipv4.udp_mem bounds all sockets of the
	// host together. See Stats.ReceiveBuffer.
	ReceiveBuffer int
	// Max is the longest datagram in bytes that is kept; default 65,535, which nothing exceeds. A longer one is lost as a
	// whole, cause truncated.
	Max int
	// GRO lets the kernel hand over the datagrams of a flow in aggregates, at a fraction of the cost. It then counts a
	// dropped aggregate of up to 64 datagrams as one: such losses are marked AtLeast. Linux only; ignored elsewhere.
	// A socket of Files that has it on keeps it.
	GRO bool
	// ExpectedRate is the number of datagrams per second this listener has to stand. If set, a receive buffer that holds
	// less than a second of it is warned about.
	ExpectedRate int
	// ProxyFrom are the relays that put a PROXY header of version 2 before the payload of every datagram. Records then
	// have the client's address, and the header is not part of them. A datagram from there whose header is missing or
	// makes no sense is kept as it came, with the relay's address; no header from anywhere else is believed. Both are
	// counted (Stats.ProxyMalformed, Stats.ProxyIgnored). Max holds for the payload.
	//
	// A Network Load Balancer of AWS needs none for UDP: there it always preserves the address of the client.
	ProxyFrom []netip.Prefix
	// Mode, Owner and Group say who may send to a unix socket, which takes write permission to its file. The socket has them
	// before anybody can reach it. Owner and Group are names or numbers; default this process's. Mode has permission bits
	// only, such as 0o666; default what the umask leaves, mostly nobody else, and 0o660 with an Owner or a Group. A socket of
	// Files keeps what it has.
	Mode         os.FileMode
	Owner, Group string
	// Files are bound sockets to take over instead of binding the address, as Inherited returns them; Network and Sockets
	// then follow from them. They stay the caller's. Such sockets are shared with other processes: Shutdown reads what
	// had arrived by then and leaves them as they are, for the next process.
	Files []*os.File
	// Own says that the Files are this listener's alone, as after a hand-over: Shutdown closes them as it does its own.
	Own bool
	// Logger gets the life cycle, and losses at a bounded rate; nil discards.
	Logger *slog.Logger
}

func (o *UDPOptions) withDefaults() UDPOptions {
	var c UDPOptions
	if o != nil {
		c = *o
	}
	if c.Network == "" {
		c.Network = "udp"
	}
	if c.Sockets == 0 {
		c.Sockets = 1
	}
	if c.ReceiveBuffer == 0 {
		c.ReceiveBuffer = 64 << 20
	}
	if c.Max == 0 {
		c.Max = MaxDatagram
	}
	c.Logger = steadylog.Wrap(c.Logger)
	return c
}

func (o *UDPOptions) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ingest: "+format, args...)) }
	switch o.Network {
	case "udp", "udp4", "udp6":
		if o.Max < 1 || o.Max > MaxDatagram {
			bad("Max %d: want 1 to %d bytes", o.Max, MaxDatagram)
		}
	case "unixgram":
		if o.Max < 1 || o.Max > segment.MaxRecord {
			bad("Max %d: want 1 to %d bytes", o.Max, segment.MaxRecord)
		}
		if o.Sockets > 1 {
			bad("Sockets %d: a unix socket cannot be shared", o.Sockets)
		}
	default:
		bad("Network %q: want udp, udp4, udp6 or unixgram", o.Network)
	}
	if o.Sockets < 1 || o.Sockets > 256 {
		bad("Sockets %d: want 1 to 256", o.Sockets)
	} else if o.Sockets > 1 && !canReusePort {
		bad("Sockets %d: more than one needs Linux", o.Sockets)
	}
	if o.ReceiveBuffer < 4096 || o.ReceiveBuffer > 1<<30 {
		bad("ReceiveBuffer %d: want 4 KiB to 1 GiB", o.ReceiveBuffer)
	}
	if len(o.ProxyFrom) > 0 && o.Network == "unixgram" {
		bad("ProxyFrom: senders on unix sockets have no address that could be trusted")
	}
	errs = append(errs, proxies(o.ProxyFrom).validate())
	if o.Mode&^os.ModePerm != 0 {
		bad("Mode %v: want permission bits only", o.Mode)
	}
	a, err := o.access()
	if errs = append(errs, err); err == nil && a.set() && o.Network != "unixgram" && len(o.Files) == 0 {
		bad("Mode, Owner and Group are for unix sockets")
	}
	if o.ExpectedRate < 0 {
		bad("ExpectedRate %d: want datagrams per second", o.ExpectedRate)
	}
	return errors.Join(errs...)
}

// UDP listens on one address with one or more sockets. Every datagram is a record, a zero-length one too.
//
// The account begins with ListenUDP: what the kernel drops from then on is counted.
type UDP struct {
	o       UDPOptions
	addr    net.Addr
	sockets []*socket
	log     *limiter
	life    *life
	nics    []Allowance // as they were when the listener was made
	pausing pausing
}

// ListenUDP binds the sockets. The kernel queues datagrams from then on; Serve should follow at once.
func ListenUDP(addr string, o *UDPOptions) (*UDP, error) {
	c := o.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	u := &UDP{o: c, log: newLimiter(c.Logger), nics: host.now()}
	files := c.Files
	if len(files) == 0 {
		files = make([]*os.File, c.Sockets)
	}
	for _, f := range files {
		s, err := openSocket(addr, f, len(u.sockets) == 0, &u.o, u.log)
		if err == nil && s.conn.LocalAddr() == nil {
			s.conn.Close()
			err = errNoName
		}
		if err != nil {
			for _, s := range u.sockets {
				s.conn.Close()
			}
			return nil, fmt.Errorf("ingest: %s %s: %w", c.Network, addr, explain(err))
		}
		u.sockets = append(u.sockets, s)
		u.addr = s.conn.LocalAddr()
		addr = u.addr.String() // port 0 was chosen by the first
	}
	u.life = newLife(u.stop)
	u.logBuffers()
	return u, nil
}

// perDatagram is what a datagram of up to 512 bytes costs of a Linux receive buffer; a longer one costs more.
const perDatagram = 1280

func (u *UDP) logBuffers() {
	granted := u.Stats().ReceiveBuffer
	holds := granted / perDatagram
	attrs := []any{"addr", u.addr.String(), "sockets", len(u.sockets), "receive_buffer", granted, "holds_datagrams", holds}
	u.o.Logger.Info("listening", append(attrs, "network", u.o.Network)...)
	if u.o.Network != "unixgram" && u.o.ExpectedRate > holds {
		u.o.Logger.Warn("receive buffer holds less than a second of the expected rate: raise ReceiveBuffer or Sockets,"+
			" and net.core.rmem_max unless the process has CAP_NET_ADMIN", append(attrs, "expected_rate", u.o.ExpectedRate)...)
	}
}

// Serve implements Listener: it receives into sink.Offer. While Offer waits nothing is read. What the kernel drops is
// accounted as kernel_overflow, at least each second, and at once before and after a wait: so a sink that made the
// listener wait can tell what is its own fault.
func (u *UDP) Serve(sink Sink) error {
	if err := u.life.begin(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, s := range u.sockets {
		s.begin(sink)
		wg.Go(func() { s.serve(u.life.ctx) })
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	// The sockets look at their own drops while there is traffic. The ticker is for those that are quiet, and for those
	// that wait for the sink: their queue overflows just then.
	tick := time.NewTicker(pollEvery)
	defer tick.Stop()
	nics := u.nics
	for {
		select {
		case <-tick.C:
			nics = host.watch(nics, u.log)
			for _, s := range u.sockets {
				s.poll()
			}
		case <-ended:
			u.warnGivenUp()
			u.o.Logger.Info("listener closed", "network", u.addr.Network(), "addr", u.addr.String())
			return u.life.end()
		}
	}
}

// stop makes every socket deaf first, so that nothing new is queued, and then wakes up whoever waits for datagrams.
func (u *UDP) stop(serving bool) {
	left := false
	if !serving {
		u.life.cancel()
	}
	for _, s := range u.sockets {
		if !serving {
			s.abandon(u.life.ctx)
			continue
		}
		s.gate.end(func() {
			if left = s.gate.left; left {
				return
			}
			if err := s.detach(); err != nil {
				u.o.Logger.Warn("cannot detach the socket: datagrams that arrive while it is closed are not counted",
					"addr", u.addr.String(), "err", err)
			}
		}, s.conn.SetReadDeadline)
	}
	u.pausing.end()
	if u.o.Network == "unixgram" && !left && (len(u.o.Files) == 0 || u.o.Own) {
		os.Remove(u.addr.String())
	}
}

// pause implements movable.
func (u *UDP) pause(ctx context.Context) (*estate, error) {
	e := &estate{shared: len(u.o.Files) > 0 && !u.o.Own, drops: make(map[uint64]uint64)}
	if u.life.isServing() {
		p := u.pausing.begin(len(u.sockets))
		for _, s := range u.sockets {
			if !s.gate.shut(p, s.conn.SetReadDeadline) {
				return nil, ErrServerClosed
			}
		}
		if err := p.wait(ctx, len(u.sockets)); err != nil {
			n := u.Stats().InHand
			return nil, fmt.Errorf("ingest: %s %s: %w: %d records (%d bytes) in hand that the sink has not taken", u.o.Network,
				u.addr, err, n.Records, n.Bytes)
		}
	}
	for _, s := range u.sockets {
		f, err := s.conn.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			e.close()
			return nil, fmt.Errorf("ingest: %s %s: %w", u.o.Network, u.addr, err)
		}
		e.files = append(e.files, f)
		if s.cookie != 0 {
			e.drops[s.cookie] = s.accounted()
		}
	}
	return e, nil
}

// resume implements movable.
func (u *UDP) resume() {
	for _, s := range u.sockets {
		s.gate.open()
	}
	u.pausing.end()
}

// leave implements movable.
func (u *UDP) leave() bool {
	for _, s := range u.sockets {
		if !s.gate.leave() {
			return false
		}
	}
	return true
}

// halt implements movable.
func (u *UDP) halt() { u.life.halt() }

// Shutdown implements Listener. The sockets are made deaf and everything queued in them is read, so that every datagram
// that arrived before is either a record or counted as lost.
func (u *UDP) Shutdown(ctx context.Context) error {
	return u.life.shutdown(ctx, u.o.Network+" "+u.addr.String(), u.Stats, u.Ready)
}

func (u *UDP) warnGivenUp() {
	meters := make([]*meter, len(u.sockets))
	for i, s := range u.sockets {
		meters[i] = &s.meter
	}
	warnGivenUp(u.o.Logger, u.addr, meters...)
}

// Ready implements Listener.
func (u *UDP) Ready() error {
	errs := make([]error, len(u.sockets))
	for i, s := range u.sockets {
		errs[i] = notReady(u.addr, &s.meter)
	}
	return errors.Join(errs...)
}

// Close implements Listener. What was queued in the sockets is read, counted, and lost (given_up).
func (u *UDP) Close() error {
	u.life.close()
	return nil
}

// Addr implements Listener.
func (u *UDP) Addr() net.Addr { return u.addr }

// Stats implements Listener.
func (u *UDP) Stats() Stats {
	s := Stats{DropsKnown: true, Allowances: since(host.now(), u.nics)}
	for _, k := range u.sockets {
		s.add(&k.meter)
		s.ReceiveBuffer += k.buffer
		s.DropsKnown = s.DropsKnown && k.dropsKnown
		if c, ok := k.recv.counts(); ok {
			s.Queued += int64(c.queued)
		}
	}
	return s
}
