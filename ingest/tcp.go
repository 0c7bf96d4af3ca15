package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/memnet"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

// TCP listens on one address; every frame of its connections is a record.
//
// Data that was read is never dropped for lack of space: while the sink waits nothing is read, and TCP slows the peer
// down. The account begins with the read.
type TCP struct {
	o       TCPOptions
	ln      net.Listener
	log     *limiter
	life    *life
	meter   meter
	sink    Sink
	append  put             // of sink, bound once: a method value allocates
	acks    bool            // the framing acknowledges
	repeats bool            // acks, and all peers send again what is not acknowledged
	again   context.Context // life.ctx, for records that their sender repeats unless they are acknowledged
	batch   int             // most records of an Append
	shares  *shares
	memory  *budget
	large   sync.Pool // of *[]byte, largeBuffer(o.MaxRecord) long
	wg      sync.WaitGroup
	conns   connSet
	behind  proxies // trusted ones
	gate    gate
	pausing pausing
	cert    certificate
	hooks   *hooks
}

var _ movable = (*TCP)(nil)

// ListenTCP binds the address. Connections queue up in the kernel until Serve is called.
func ListenTCP(addr string, o *TCPOptions) (*TCP, error) {
	if memnet.Is(addr) {
		return listenShared(addr, o, newShares(0, 0)) // a host that a test has killed does not call leave
	}
	return listenShared(addr, o, ofProcess())
}

// listenShared is ListenTCP with the given shares.
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
		shares: shares, memory: newBudget(c.MemoryBytes, shares.largest),
	}
	t.large.New = func() any { b := make([]byte, largeBuffer(c.MaxRecord)); return &b }
	if t.acks, t.repeats = acknowledges(c.Framing, c.MaxRecord); t.acks {
		t.batch = c.Window
	}
	t.cert.watch(c.TLS)
	t.hooks = newHooks(c.Hooks, ln.Addr(), &t.meter, t.log)
	t.conns.init(shares, c.MaxConns, c.MaxConnsPerSource)
	t.life = newLife(t.stop)
	if t.acks {
		t.again = context.WithValue(t.life.ctx, acknowledgedKey{}, true)
	}
	c.Logger.Info("ingest: listening", "network", c.Network, "addr", ln.Addr().String(), "tls", c.TLS != nil)
	return t, nil
}

// Serve implements Listener: it passes the frames of every read to sink.Append, which returns before the next read.
func (t *TCP) Serve(sink Sink) error {
	if err := checkSink(sink); err != nil {
		return err
	}
	if _, err := durable(sink); t.acks && err != nil {
		return err
	}
	if err := t.life.startServing(); err != nil {
		return err
	}
	t.sink, t.append = sink, sink.Append // no connection runs yet
	defer t.shares.leave()
	if n := t.shares.most(t.o.MaxConns); n < t.o.MaxConns {
		t.o.Logger.Warn("ingest: the limits of this process allow fewer connections than MaxConns; further ones are refused",
			"addr", t.ln.Addr().String(), "connections", n, "max_conns", t.o.MaxConns, "why", t.shares.why)
	}
	t.accept()
	t.ln.Close()
	t.wg.Wait()
	warnGivenUp(t.o.Logger, t.ln.Addr(), &t.meter)
	t.o.Logger.Info("ingest: listener closed", "network", "tcp", "addr", t.ln.Addr().String())
	return t.life.endServing()
}

// maxBacklog bounds how many connections are still accepted after stop: as many as Linux queues by default.
const maxBacklog = 4096

// accept ends when stop has set the deadline. It then admits the connections that are queued by then: closing the socket
// would reset them, although their peers may have written to them already.
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
			continue // the deadline of a pause that is over already
		}
		failures++ // no descriptors left, or the peer closed the connection before it was accepted
		if !errors.Is(err, net.ErrClosed) {
			t.meter.fail(err)
		}
		t.log.warn("ingest: accepting connections failed; will retry", "addr", t.ln.Addr().String(), "err", err)
		if wait.Sleep(t.life.ctx, backoff(failures)) != nil {
			return
		}
	}
	if _, _, left := t.gate.interrupted(t.deadline); left || t.shared() {
		return // the next process accepts them
	}
	t.acceptQueue()
}

// acceptQueue admits the connections that are still queued in the kernel.
func (t *TCP) acceptQueue() {
	for range maxBacklog {
		nc, err := acceptQueued(t.ln)
		if err != nil {
			return
		}
		t.admit(nc)
	}
}

// admit starts a connection, or closes it if there are too many. If it stayed in the kernel's queue instead, one source
// could fill the queue and keep out all others.
func (t *TCP) admit(nc net.Conn) {
	c := newConn(t, nc)
	switch err := t.conns.add(c); {
	case errors.Is(err, ErrServerClosed):
		c.turnAway(segment.GivenUp)
		return
	case err != nil:
		c.warnRefused(c.turnAway(segment.Refused), err)
		return
	}
	t.wg.Go(func() {
		defer t.conns.remove(c)
		c.serve()
	})
}

// warnRefused logs that there are too many connections.
func (c *conn) warnRefused(bytes int64, err error) {
	c.t.log.warn("ingest: connection refused; err names the limit, and senders should try again: raise it, or find out who holds connections", "addr", c.t.ln.Addr().String(), "src", c.src.String(), "bytes_lost", bytes, "err", err)
}

// stop tells every peer that this side is closing, and gives it Grace to stop sending.
func (t *TCP) stop(serving bool) {
	if !serving {
		t.abandon()
		return
	}
	t.gate.stop(func() { t.conns.close(time.Now().Add(max(0, t.o.Grace))) }, t.deadline)
	t.pausing.resume()
}

// deadline interrupts the accepting goroutine.
func (t *TCP) deadline(at time.Time) error {
	if l, ok := t.ln.(interface{ SetDeadline(time.Time) error }); ok {
		return l.SetDeadline(at)
	}
	return nil
}

// shared reports that other processes accept from the socket too.
func (t *TCP) shared() bool { return len(t.o.Files) > 0 && !t.o.OwnFiles }

// pause implements movable: no more connections are accepted. Open connections continue; leave and halt end them as
// Shutdown does.
func (t *TCP) pause(ctx context.Context) (*handedOver, error) {
	if t.life.isServing() {
		p := t.pausing.start(1)
		if !t.gate.pauseFor(p, t.deadline) {
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
	return &handedOver{files: []*os.File{f}, shared: t.shared()}, nil
}

// resume implements movable.
func (t *TCP) resume() {
	// All descriptors of a socket share its blocking mode, and package os makes the socket blocking in a process that
	// receives it. Accept would then hold a thread that no deadline wakes up.
	if err := setNonblock(t.ln); err != nil {
		t.o.Logger.Warn("ingest: cannot make the socket non-blocking again, so its shutdown may take longer; nothing is lost", "addr", t.ln.Addr().String(), "err", err)
	}
	t.gate.resume()
	t.pausing.resume()
}

// leave implements movable.
func (t *TCP) leave() bool { return t.gate.leave() }

// halt implements movable.
func (t *TCP) halt() { t.life.halt() }

// Shutdown implements Listener. It accepts what is queued, half-closes every connection, and reads on until the peer
// closes its side or Grace is over. It then cuts the connection so that everything that the kernel has acknowledged to
// the peer is still read. An unterminated frame is treated as if the peer had closed. Bytes that were in transit to this
// host are answered with a reset, so that the peer can know.
func (t *TCP) Shutdown(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	return t.life.shutdown(ctx, t.o.Network+" "+t.ln.Addr().String(), t.Stats, t.failed)
}

// abandon ends a listener that was never served. Bytes that its peers have sent are counted only in Stats.
func (t *TCP) abandon() {
	defer t.shares.leave()
	defer t.ln.Close()
	if t.shared() || t.gate.isLeft() || t.repeats {
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
func (t *TCP) Ready() error { return t.life.ready(t.failed()) }

// failed returns why nothing can be accepted, as of the last attempt.
func (t *TCP) failed() error { return notReady(t.ln.Addr(), &t.meter) }

// Close implements Listener. Data that the kernel has acknowledged to peers is read, counted, and lost (given_up).
func (t *TCP) Close() error {
	t.life.cancel()
	t.conns.abort()
	t.life.close()
	return nil
}

// Addr implements Listener.
func (t *TCP) Addr() net.Addr { return t.ln.Addr() }

// Stats implements Listener. DropsKnown is true: what the kernel drops, TCP sends again.
func (t *TCP) Stats() Stats {
	s := Stats{DropsKnown: true}
	s.add(&t.meter)
	s.Conns, s.Refused = t.conns.count()
	s.Queued = t.conns.queued()
	s.Senders, s.TLSExpires = TopSenders(s.Senders, maxSenders), t.cert.expires()
	return s
}
