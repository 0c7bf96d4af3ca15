package ingest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/memnet"
	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// TCPOptions configure a TCP listener. The zero value of every field means its documented default.
type TCPOptions struct {
	// Network is "tcp" (default), "tcp4" or "tcp6".
	Network string
	// Framing cuts the stream into records; default Auto.
	Framing Framing
	// Max is the longest payload of a frame in bytes; default 1 MiB. A longer frame is passed over and lost, cause
	// frame_too_long; the connection stays.
	Max int
	// Window is how many records of a connection may be appended and not acknowledged, 1 to 1024; default 1024. It needs
	// a framing that acknowledges. When a connection breaks, the peer sends so many again at most that are kept already.
	// A smaller one costs more calls of fdatasync.
	Window int
	// MaxConns is the number of connections at a time; default 4096. One more is closed at once. All TCP listeners of a process
	// together have three quarters of its descriptors (RLIMIT_NOFILE), 64 less than all at most, and as many connections as
	// a quarter of its memory is enough for; each listener has an equal part of them at most.
	MaxConns int
	// MaxConnsPerSource is the same per IPv4 address or IPv6 /64; default 1024, and half of what the listener has where
	// that is less than MaxConns.
	MaxConnsPerSource int
	// Memory bounds the buffers of frames over 64 KiB, of all connections together, in bytes; default 256 MiB, and its part
	// of a quarter of the memory that the process may use. A connection whose frame finds no room waits, and with it its
	// peer. Every connection has 64 KiB besides, and as much again for a batch of records while the sink makes it wait.
	Memory int64
	// IdleTimeout ends a connection on which nothing arrives; default 1 h, negative never. Senders that do not look
	// before they write lose a message when it strikes; peers that are gone are found by TCP keep-alive long before.
	IdleTimeout time.Duration
	// FrameTimeout ends a connection whose frame is not complete so long after its first byte, or that does not take an
	// answer for so long; default 1 min, negative never. What the sink makes it wait does not count.
	FrameTimeout time.Duration
	// Grace is how long Shutdown lets peers go on sending after it has told them that it is closing; default 1 s,
	// negative none.
	Grace time.Duration
	// TLS, if set, is what connections are to be secured with, except that no session tickets are sent: a sender that never
	// reads would lose data over them. HandshakeTimeout (default 10 s) ends slow ones, and those
	// that a framing which acknowledges has nothing to answer to for so long.
	TLS              *tls.Config
	HandshakeTimeout time.Duration
	// ProxyFrom are the load balancers and proxies that put a PROXY header, version 1 or 2, before the first byte of a
	// connection, before TLS too. Records then have the address of the proxy's client, which also counts against
	// MaxConnsPerSource. From there a connection without a header within HandshakeTimeout is refused, and what was read
	// of it lost, cause malformed. From anywhere else no header is believed: it is data, as if ProxyFrom were empty. A
	// LOCAL command (health checks) and unknown addresses leave the proxy's own.
	ProxyFrom []netip.Prefix
	// Files is a listening socket to take over instead of binding the address, as Inherited returns it. It stays the
	// caller's, and open: Shutdown leaves the connections that it has not accepted to the next process.
	Files []*os.File
	// Own says that the socket in Files is this listener's alone, as after a hand-over: Shutdown closes it as it does its
	// own.
	Own bool
	// Logger gets the life cycle, and losses and refusals at a bounded rate; nil discards.
	Logger *slog.Logger
}

func (o *TCPOptions) withDefaults() TCPOptions {
	var c TCPOptions
	if o != nil {
		c = *o
	}
	setDefault(&c.Network, "tcp")
	setDefault(&c.Max, 1<<20)
	setDefault(&c.Window, maxBatch)
	setDefault(&c.MaxConns, 4096)
	setDefault(&c.MaxConnsPerSource, 1024)
	setDefault(&c.Memory, 256<<20)
	setDefault(&c.IdleTimeout, time.Hour)
	setDefault(&c.FrameTimeout, time.Minute)
	setDefault(&c.Grace, time.Second)
	setDefault(&c.HandshakeTimeout, 10*time.Second)
	if c.Framing == nil {
		c.Framing = Auto
	}
	c.Logger = steadylog.Wrap(c.Logger)
	if c.TLS != nil {
		c.TLS = withoutTickets(c.TLS)
	}
	return c
}

func setDefault[T comparable](p *T, d T) {
	var zero T
	if *p == zero {
		*p = d
	}
}

func (o *TCPOptions) validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("ingest: "+format, args...)) }
	switch o.Network {
	case "tcp", "tcp4", "tcp6":
	default:
		bad("Network %q: want tcp, tcp4 or tcp6", o.Network)
	}
	if o.Max < 1 || o.Max > segment.MaxRecord {
		bad("Max %d: want 1 to %d bytes", o.Max, segment.MaxRecord)
	} else if o.Memory < int64(largeBuffer(o.Max)) {
		bad("Memory %d: want at least %d bytes, one frame of Max %d", o.Memory, largeBuffer(o.Max), o.Max)
	}
	if o.Window < 1 || o.Window > maxBatch {
		bad("Window %d: want 1 to %d records", o.Window, maxBatch)
	}
	if o.MaxConns < 1 {
		bad("MaxConns %d: want at least 1", o.MaxConns)
	}
	if o.MaxConnsPerSource < 1 {
		bad("MaxConnsPerSource %d: want at least 1", o.MaxConnsPerSource)
	}
	if len(o.Files) > 1 {
		bad("Files: %d sockets, want one", len(o.Files))
	}
	if o.HandshakeTimeout < 0 {
		bad("HandshakeTimeout %v: want a duration", o.HandshakeTimeout)
	}
	errs = append(errs, proxies(o.ProxyFrom).validate())
	return errors.Join(errs...)
}

// TCP listens on one address; every frame of its connections is a record.
//
// Nothing that was read is ever dropped for want of room: while the sink waits nothing is read, and TCP slows the peer
// down. The account begins with the read.
type TCP struct {
	o       TCPOptions
	ln      net.Listener
	log     *limiter
	life    *life
	meter   meter
	sink    Sink
	append  put     // of sink, bound once: a method value allocates
	acks    bool    // the framing acknowledges
	batch   int     // most records of an Append
	durable durable // sink, if acks
	shares  *shares
	memory  *budget
	large   sync.Pool // of *[]byte, largeBuffer(o.Max) long
	wg      sync.WaitGroup
	conns   connSet
	behind  proxies // trusted ones
	gate    gate
	pausing pausing
}

// ListenTCP binds the address. Connections queue up in the kernel until Serve is called.
func ListenTCP(addr string, o *TCPOptions) (*TCP, error) {
	if memnet.Is(addr) {
		return listenShared(addr, o, newShares(0, 0)) // hosts that a test has killed give nothing back
	}
	return listenShared(addr, o, ofProcess())
}

// listenShared is ListenTCP with what its listeners share.
func listenShared(addr string, o *TCPOptions, shares *shares) (_ *TCP, err error) {
	c := o.withDefaults()
	if err := c.validate(); err != nil {
		return nil, err
	}
	if err := shares.join(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			shares.leave()
		}
	}()
	var ln net.Listener
	switch {
	case len(c.Files) > 0:
		ln, err = net.FileListener(c.Files[0])
	case memnet.Is(addr): // in memory: only tests have such addresses
		ln, err = memnet.Listen(addr)
	default:
		ln, err = new(net.ListenConfig).Listen(context.Background(), c.Network, addr)
	}
	if err != nil {
		return nil, fmt.Errorf("ingest: %s %s: %w", c.Network, addr, explain(err))
	}
	if ln.Addr() == nil {
		ln.Close()
		return nil, fmt.Errorf("ingest: %s %s: %w", c.Network, addr, errNoName)
	}
	t := &TCP{
		o: c, ln: ln, log: newLimiter(c.Logger), batch: maxBatch, behind: c.ProxyFrom,
		shares: shares, memory: newBudget(c.Memory, shares.largest),
	}
	t.large.New = func() any { b := make([]byte, largeBuffer(c.Max)); return &b }
	if t.acks = acknowledges(c.Framing, c.Max); t.acks {
		t.batch = c.Window
	}
	t.conns.init(shares, c.MaxConns, c.MaxConnsPerSource)
	t.life = newLife(t.stop)
	c.Logger.Info("listening", "network", c.Network, "addr", ln.Addr().String(), "tls", c.TLS != nil)
	return t, nil
}

// Serve implements Listener: every read's frames go to sink.Append, and the next read waits for it.
func (t *TCP) Serve(sink Sink) error {
	d, ok := sink.(durable)
	if t.acks && !ok {
		return errNotDurable
	}
	if err := t.life.begin(); err != nil {
		return err
	}
	t.sink, t.append, t.durable = sink, sink.Append, d // no connection runs yet
	defer t.shares.leave()
	if n := t.shares.most(t.o.MaxConns); n < t.o.MaxConns {
		t.o.Logger.Warn("fewer connections than MaxConns fit into the limits of this process: the rest is refused",
			"addr", t.ln.Addr().String(), "connections", n, "max_conns", t.o.MaxConns, "why", t.shares.why)
	}
	t.accept()
	t.ln.Close()
	t.wg.Wait()
	warnGivenUp(t.o.Logger, t.ln.Addr(), &t.meter)
	t.o.Logger.Info("listener closed", "network", "tcp", "addr", t.ln.Addr().String())
	return t.life.end()
}

// maxBacklog bounds how many connections are still accepted after stop: as many as Linux queues by default.
const maxBacklog = 4096

// accept ends when stop has set the deadline, with the connections that were queued by then: closing the socket would
// reset them, although their peers may have written to them already.
func (t *TCP) accept() {
	for failures := 0; ; {
		nc, err := t.ln.Accept()
		if err == nil {
			failures = 0
			t.meter.fail(nil)
			t.admit(nc)
			continue
		}
		p, ending, _ := t.gate.interrupted(t.deadline)
		if ending {
			break
		}
		if p != nil {
			p.park()
			continue
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			continue // of a pause that is over already
		}
		failures++ // out of descriptors, or a connection that was gone before it was accepted
		if !errors.Is(err, net.ErrClosed) {
			t.meter.fail(err)
		}
		t.log.warn("accepting failed, trying again", "addr", t.ln.Addr().String(), "err", err)
		select {
		case <-t.life.ctx.Done():
			return
		case <-time.After(backoff(failures)):
		}
	}
	if _, _, left := t.gate.interrupted(t.deadline); left || t.shared() {
		return // the next process accepts them
	}
	t.acceptQueue()
}

// acceptQueue takes the connections that nobody has accepted yet.
func (t *TCP) acceptQueue() {
	for range maxBacklog {
		nc, err := acceptQueued(t.ln)
		if err != nil {
			return
		}
		t.admit(nc)
	}
}

// admit starts a connection, or closes it if there are too many. To leave it in the kernel's queue instead would let one
// source that fills the queue keep out all others.
func (t *TCP) admit(nc net.Conn) {
	c := newConn(t, nc)
	if err := t.conns.add(c); err != nil {
		bytes := c.turnAway()
		t.log.warn("connection refused", "addr", t.ln.Addr().String(), "src", c.src.String(), "bytes_lost", bytes, "err", err)
		return
	}
	t.wg.Go(func() {
		defer t.conns.remove(c)
		c.serve()
	})
}

// stop tells every peer that this side is closing, and leaves them Grace to stop sending.
func (t *TCP) stop(serving bool) {
	if !serving {
		t.abandon()
		return
	}
	t.gate.end(func() { t.conns.close(time.Now().Add(max(0, t.o.Grace))) }, t.deadline)
	t.pausing.end()
}

// deadline interrupts who accepts.
func (t *TCP) deadline(at time.Time) error {
	if l, ok := t.ln.(interface{ SetDeadline(time.Time) error }); ok {
		return l.SetDeadline(at)
	}
	return nil
}

// shared reports that others accept from the socket too.
func (t *TCP) shared() bool { return len(t.o.Files) > 0 && !t.o.Own }

// pause implements movable: no more connections are accepted. Those that are open go on; they end with leave, in the way
// of Shutdown.
func (t *TCP) pause(ctx context.Context) (*estate, error) {
	if t.life.isServing() {
		p := t.pausing.begin(1)
		if !t.gate.shut(p, t.deadline) {
			return nil, ErrServerClosed
		}
		if err := p.wait(ctx, 1); err != nil {
			return nil, fmt.Errorf("ingest: %s %s: %w: it is still accepting", t.o.Network, t.ln.Addr(), err)
		}
	}
	l, ok := t.ln.(interface{ File() (*os.File, error) })
	if !ok {
		return nil, fmt.Errorf("ingest: %s %s: the socket cannot be handed over", t.o.Network, t.ln.Addr())
	}
	f, err := l.File()
	if err != nil {
		return nil, fmt.Errorf("ingest: %s %s: %w", t.o.Network, t.ln.Addr(), err)
	}
	return &estate{files: []*os.File{f}, shared: t.shared()}, nil
}

// resume implements movable.
func (t *TCP) resume() {
	// Whether a socket blocks is a property that all descriptors of it share, and package os makes it blocking in a process
	// that has been given it. Accept would then hold a thread that no deadline wakes up.
	if err := setNonblock(t.ln); err != nil {
		t.o.Logger.Warn("cannot make the socket non-blocking again", "addr", t.ln.Addr().String(), "err", err)
	}
	t.gate.open()
	t.pausing.end()
}

// leave implements movable.
func (t *TCP) leave() bool { return t.gate.leave() }

// halt implements movable.
func (t *TCP) halt() { t.life.halt() }

// Shutdown implements Listener. It accepts what is queued, half-closes every connection, reads on until the peer closes
// its side or Grace is over, and then cuts the connection in such a way that everything the kernel had acknowledged to
// the peer is still read. What is left unterminated is treated as if the peer had closed. Bytes that were under way to
// this host are answered with a reset, so that the peer can know.
func (t *TCP) Shutdown(ctx context.Context) error {
	return t.life.shutdown(ctx, t.o.Network+" "+t.ln.Addr().String(), t.Stats, t.Ready)
}

// abandon ends a listener that was never served. What its peers have sent is counted, in Stats alone.
func (t *TCP) abandon() {
	defer t.shares.leave()
	defer t.ln.Close()
	if t.shared() || t.gate.isLeft() || t.acks {
		return
	}
	t.life.cancel()
	t.sink, t.append = nowhere{}, nowhere{}.Append
	t.conns.abort()
	t.acceptQueue()
	t.wg.Wait()
	warnGivenUp(t.o.Logger, t.ln.Addr(), &t.meter)
}

// Ready implements Listener.
func (t *TCP) Ready() error { return notReady(t.ln.Addr(), &t.meter) }

// Close implements Listener. What the kernel has acknowledged to peers is read, counted, and lost (given_up).
func (t *TCP) Close() error {
	t.life.cancel()
	t.conns.abort()
	t.life.close()
	return nil
}

// Addr implements Listener.
func (t *TCP) Addr() net.Addr { return t.ln.Addr() }

// Stats implements Listener. There are no drops that the kernel could hide: TCP repeats them.
func (t *TCP) Stats() Stats {
	s := Stats{DropsKnown: true}
	s.add(&t.meter)
	s.Conns, s.Refused = t.conns.count()
	s.Queued = t.conns.queued()
	return s
}
