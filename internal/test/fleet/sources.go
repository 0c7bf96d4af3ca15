//go:build linux

package fleet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sync/errgroup"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
)

// lineSize is how long a record is.
const lineSize = 300

// tick is how often a feed sends.
const tick = 5 * time.Millisecond

// Feed sends the lines of one run through one balancer, from many sources. Every line has a number, and a checksum: see fwlog.
type Feed struct {
	Run    string
	Class  string
	ns     *Namespace
	to     string
	gen    *fwlog.Generator
	rnd    *rand.Rand
	weight []float64 // cumulative, of the sources
	churn  float64   // a source gets another port so often, in a second
	// fixed sources never change their port.
	fixed int

	rate   atomic.Int64 // lines a second
	bursts []Burst
	// noBursts: bursts do not multiply the rate.
	noBursts atomic.Bool
	begun    time.Time
	// burst is which bursts have sent lines.
	burst []atomic.Bool

	Sent atomic.Uint64
	// doubt reports whether the end of a connection from a local address confirms nothing.
	doubt func(addr string) bool
	// Unconfirmed are the numbers of lines on connections of which the receiver has not confirmed that it has read everything.
	mu          sync.Mutex
	unconfirmed []uint64
	failures    uint64
}

// Burst multiplies the rate for a while.
type Burst struct {
	At, For time.Duration // after the feed's begin
	Times   float64
}

// newFeed returns a feed. Each source has a share of the lines.
func newFeed(run, class string, ns *Namespace, to string, seed uint64, shares []float64) (*Feed, error) {
	g, err := fwlog.NewGenerator(run, seed)
	if err != nil {
		return nil, err
	}
	f := &Feed{Run: run, Class: class, ns: ns, to: to, gen: g, rnd: rand.New(rand.NewPCG(seed, 2)), begun: time.Now()}
	sum := 0.0
	for _, s := range shares {
		sum += s
		f.weight = append(f.weight, sum)
	}
	return f, nil
}

// pick draws a source by its share.
func (f *Feed) pick() int {
	x := f.rnd.Float64() * f.weight[len(f.weight)-1]
	i, _ := slices.BinarySearch(f.weight, x)
	return min(i, len(f.weight)-1)
}

// due is how many lines are to be sent by now, since the last call.
func (f *Feed) due(last, now time.Time, rest *float64) int {
	r := float64(f.rate.Load())
	in := -1
	for i, b := range f.bursts {
		if since := now.Sub(f.begun); since >= b.At && since < b.At+b.For && !f.noBursts.Load() {
			r *= b.Times
			in = i
		}
	}
	// After a pause of the whole machine, the sources do not make up for more than a tenth of a second.
	*rest += r * min(now.Sub(last), 100*time.Millisecond).Seconds()
	n := int(*rest)
	*rest -= float64(n)
	if in >= 0 && n > 0 {
		f.burst[in].Store(true)
	}
	return n
}

// SendUDP sends datagrams until ctx ends.
func (f *Feed) SendUDP(ctx context.Context) error {
	sources := make([]*source, len(f.weight))
	defer func() {
		for _, s := range sources {
			s.close()
		}
	}()
	dial := func(i int) error {
		c, err := f.ns.Dial(ctx, "udp", f.to)
		if err != nil {
			return err
		}
		sources[i].close()
		sources[i], err = newSource(c)
		return err
	}
	for i := range sources {
		if err := dial(i); err != nil {
			return err
		}
	}
	due := make([]int, len(sources))
	return f.every(ctx, func(n int) error {
		for range n {
			due[f.pick()]++
		}
		for i, s := range sources {
			if err := f.sendLines(s, i, due[i]); err != nil {
				return err
			}
			due[i] = 0
		}
		if f.rnd.Float64() < f.churn*tick.Seconds()*float64(len(sources)) {
			if i := f.rnd.IntN(len(sources)); i >= f.fixed {
				return dial(i)
			}
		}
		return nil
	})
}

// lanes is how many batches of a source are sent at a time. A datagram crosses the whole stage within the call that sends it, so one
// thread alone cannot send what the largest source sends in a burst.
const lanes = 2

// source is a socket from which datagrams are sent.
type source [lanes]lane

// lane sends from the socket of its source, through a descriptor of its own: package net lets one call at a time write to a descriptor.
type lane struct {
	conn  net.Conn
	batch *ipv4.PacketConn
	lines []ipv4.Message // the next ones
	room  []ipv4.Message // for batchSize of them
}

func newSource(c net.Conn) (*source, error) {
	s := &source{{conn: c}}
	for i := range s {
		l := &s[i]
		if i > 0 {
			file, err := c.(*net.UDPConn).File()
			if err != nil {
				s.close()
				return nil, err
			}
			l.conn, err = net.FileConn(file)
			file.Close()
			if err != nil {
				s.close()
				return nil, err
			}
		}
		l.batch = ipv4.NewPacketConn(l.conn.(*net.UDPConn))
	}
	return s, nil
}

func (s *source) close() {
	if s == nil {
		return
	}
	for i := range s {
		if c := s[i].conn; c != nil {
			c.Close()
		}
	}
}

// batchSize is how many datagrams a call sends.
const batchSize = 64

// next sets lines to the next n lines.
func (l *lane) next(n int, line func(buf []byte) []byte) {
	if l.room == nil { // most sources never need a second lane
		l.room = make([]ipv4.Message, batchSize)
		for i := range l.room {
			l.room[i].Buffers = [][]byte{nil}
		}
	}
	l.lines = l.room[:n]
	for i := range l.lines {
		l.lines[i].Buffers[0] = line(l.lines[i].Buffers[0][:0])
	}
}

// send sends the lines. The kernel refuses a datagram after an error of an earlier one that found no listener; the next try
// succeeds.
func (l *lane) send() (refused uint64, err error) {
	for left := l.lines; len(left) > 0; {
		sent, err := l.batch.WriteBatch(left, 0)
		if err != nil {
			if refused++; refused > 1000 {
				return refused, fmt.Errorf("the kernel takes no datagram: %w", err)
			}
		}
		left = left[max(sent, 0):]
	}
	return refused, nil
}

// sendLines sends the next n lines of a source.
func (f *Feed) sendLines(s *source, number, n int) error {
	for n > 0 {
		next := f.Sent.Load()
		busy := s[:min(lanes, (n+batchSize-1)/batchSize)]
		for i := range busy {
			l := &busy[i]
			l.next(min(n, batchSize), func(buf []byte) []byte {
				next++
				return f.gen.Append(buf, number, next-1, lineSize)
			})
			n -= len(l.lines)
		}
		var refused atomic.Uint64
		var others errgroup.Group
		send := func(l *lane) error {
			n, err := l.send()
			refused.Add(n)
			return err
		}
		for i := range busy[1:] {
			others.Go(func() error { return send(&busy[1+i]) })
		}
		err := errors.Join(send(&busy[0]), others.Wait())
		f.note(func() { f.failures += refused.Load() })
		if err != nil {
			return err
		}
		f.Sent.Store(next)
	}
	return nil
}

// every calls send with the number of lines that are due, until ctx ends.
func (f *Feed) every(ctx context.Context, send func(n int) error) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	last, rest := time.Now(), 0.0
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
		}
		now := time.Now()
		f.gen.Tick(now)
		if err := send(f.due(last, now, &rest)); err != nil && ctx.Err() == nil {
			return fmt.Errorf("feed %s: %w", f.Run, err)
		}
		last = now
	}
}

func (f *Feed) note(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// Failures counts datagrams that the sender's own kernel has refused.
func (f *Feed) Failures() uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.failures
}

// Unconfirmed returns the numbers of lines that may have been lost with a connection.
func (f *Feed) Unconfirmed() []uint64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.unconfirmed)
}

// connection is a TCP connection of a source, with the lines on it.
type connection struct {
	net.Conn
	lines []uint64
	born  time.Time
}

// SendTCP sends lines over connections until ctx ends. A connection is ended in order after life: the receiver then closes its
// side, which confirms that it has read everything.
func (f *Feed) SendTCP(ctx context.Context, life time.Duration) error {
	conns := make([]*connection, len(f.weight))
	var wg sync.WaitGroup
	defer wg.Wait()
	retire := func(i int) {
		if c := conns[i]; c != nil {
			conns[i] = nil
			wg.Go(func() { f.retire(c) })
		}
	}
	defer func() {
		for i := range conns {
			retire(i)
		}
	}()
	var buf []byte
	return f.every(ctx, func(n int) error {
		for range n {
			i := f.pick()
			if c := conns[i]; c != nil && time.Since(c.born) > life {
				retire(i)
			}
			if conns[i] == nil {
				c, err := f.ns.Dial(ctx, "tcp", f.to)
				if err != nil {
					f.note(func() { f.failures++ })
					continue
				}
				conns[i] = &connection{Conn: c, born: time.Now()}
			}
			seq := f.Sent.Add(1) - 1
			c := conns[i]
			c.lines = append(c.lines, seq)
			buf = append(f.gen.Append(buf[:0], i, seq, lineSize), '\n')
			_ = c.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := c.Write(buf); err != nil {
				retire(i)
			}
		}
		return nil
	})
}

// retire ends a connection, and notes its lines if the receiver does not confirm that it has read them: it closes its side after
// it has read everything.
func (f *Feed) retire(c *connection) {
	defer c.Close()
	err := c.Conn.(*net.TCPConn).CloseWrite()
	if err == nil {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, err = io.Copy(io.Discard, c)
	}
	if err != nil || f.doubt(c.LocalAddr().String()) {
		f.note(func() { f.unconfirmed = append(f.unconfirmed, c.lines...) })
	}
}
