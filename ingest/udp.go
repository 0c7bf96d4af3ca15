package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// UDP listens on one address with one or more sockets. Every datagram is a record, even one of length zero.
//
// The account begins with ListenUDP: datagrams that the kernel drops from then on are counted.
type UDP struct {
	o       UDPOptions
	addr    net.Addr
	sockets []*socket
	log     *limiter
	life    *life
	nics    []Allowance // their counters when the listener was made
	pausing pausing
}

var _ movable = (*UDP)(nil)

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
		s.hooks = newHooks(c.Hooks, u.addr, &s.meter, u.log)
		addr = u.addr.String() // port 0 was chosen by the first
	}
	u.life = newLife(u.stop)
	u.logBuffers()
	return u, nil
}

func (u *UDP) logBuffers() {
	granted := u.Stats().ReceiveBuffer
	holds := granted / perDatagram
	attrs := []any{"addr", u.addr.String(), "sockets", len(u.sockets), "receive_buffer", granted, "holds_datagrams", holds}
	u.o.Logger.Info("ingest: listening", append(attrs, "network", u.o.Network)...)
	if u.o.Network != "unixgram" && u.o.ExpectedRate > holds {
		u.o.Logger.Warn("ingest: the receive buffer holds less than one second of the expected rate; raise ReceiveBuffer or Sockets,"+
			" and net.core.rmem_max unless the process has CAP_NET_ADMIN", append(attrs, "expected_rate", u.o.ExpectedRate)...)
	}
}

// Serve implements Listener: it passes datagrams to sink.Offer. While Offer waits, nothing is read. Kernel drops are
// accounted for as kernel_overflow at least once a second, and also right before and after a wait, so that a sink knows
// which drops happened while it made the listener wait.
func (u *UDP) Serve(sink Sink) error {
	if err := checkSink(sink); err != nil {
		return err
	}
	if err := u.life.startServing(); err != nil {
		return err
	}
	var wg sync.WaitGroup
	for _, s := range u.sockets {
		s.attach(sink)
		wg.Go(func() { s.serve(u.life.ctx) })
	}
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	// A socket polls its own drops while there is traffic. The ticker polls sockets that are quiet, and sockets that wait
	// for the sink, whose queues overflow meanwhile.
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
			u.o.Logger.Info("ingest: listener closed", "network", u.addr.Network(), "addr", u.addr.String())
			return u.life.endServing()
		}
	}
}

// stop detaches every socket first, so that nothing new is queued, and then wakes the goroutines that wait for
// datagrams.
func (u *UDP) stop(serving bool) {
	left := false
	if !serving {
		u.life.cancel()
	}
	for _, s := range u.sockets {
		if !serving {
			left = left || s.gate.isLeft()
			s.abandon(u.life.ctx)
			continue
		}
		s.gate.stop(func() {
			if left = s.gate.left; left {
				return
			}
			if err := s.detach(); err != nil {
				u.o.Logger.Warn("ingest: cannot detach the socket; datagrams that arrive while it is being closed are not counted",
					"addr", u.addr.String(), "err", err)
			}
		}, s.conn.SetReadDeadline)
	}
	u.pausing.resume()
	if u.o.Network == "unixgram" && !left && (len(u.o.Files) == 0 || u.o.OwnFiles) {
		os.Remove(u.addr.String())
	}
}

// pause implements movable.
func (u *UDP) pause(ctx context.Context) (*handedOver, error) {
	e := &handedOver{shared: len(u.o.Files) > 0 && !u.o.OwnFiles, drops: make(map[uint64]uint64)}
	if u.life.isServing() {
		p := u.pausing.start(len(u.sockets))
		for _, s := range u.sockets {
			if !s.gate.pauseFor(p, s.conn.SetReadDeadline) {
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
		s.gate.resume()
	}
	u.pausing.resume()
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

// Shutdown implements Listener. It detaches the sockets and reads everything that is queued in them, so every datagram
// that arrived before that is either a record or counted as lost.
func (u *UDP) Shutdown(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	return u.life.shutdown(ctx, u.o.Network+" "+u.addr.String(), u.Stats, u.failed)
}

func (u *UDP) warnGivenUp() {
	meters := make([]*meter, len(u.sockets))
	for i, s := range u.sockets {
		meters[i] = &s.meter
	}
	warnGivenUp(u.o.Logger, u.addr, meters...)
}

// Ready implements Listener.
func (u *UDP) Ready() error { return u.life.ready(u.failed()) }

// failed returns why nothing can be received, as of the last attempt.
func (u *UDP) failed() error {
	errs := make([]error, len(u.sockets))
	for i, s := range u.sockets {
		errs[i] = notReady(u.addr, &s.meter)
	}
	return errors.Join(errs...)
}

// Close implements Listener. Datagrams queued in the sockets are read, counted, and lost (given_up).
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
		c, _ := k.recv.counts()
		s.Queued += int64(c.queued)
		s.Sockets = append(s.Sockets, SocketStats{Queued: int64(c.queued), Buffer: k.buffer, Requested: k.asked, Drops: k.accounted()})
	}
	s.Senders = TopSenders(s.Senders, maxSenders)
	return s
}
