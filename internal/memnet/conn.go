package memnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is what a receive buffer holds: bytes in it are acknowledged to the peer, and not yet read.
const window = 64 << 10

// Conn is one end of a connection.
type Conn struct {
	in, out *stream
	remote  net.Addr

	mu     sync.Mutex
	linger bool // the close is to be a reset
	closed bool
}

var _ net.Conn = (*Conn)(nil)

// pair returns both ends of a connection from a client's address.
func pair(from netip.AddrPort) (client, server *Conn) {
	up, down := newStream(), newStream()
	return &Conn{in: down, out: up, remote: addr("mem")}, &Conn{in: up, out: down, remote: net.TCPAddrFromAddrPort(from)}
}

// Read implements net.Conn.
func (c *Conn) Read(p []byte) (int, error) { return c.in.read(p) }

// Write implements net.Conn: it returns when the peer's receive buffer has all of p.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close implements net.Conn. Where the peer's bytes are not all read, or SetLinger(0) asked for it, the peer sees a reset.
func (c *Conn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	c.closed = true
	unread := c.in.refuse(net.ErrClosed)
	if unread || c.linger {
		c.out.reset()
		return nil
	}
	c.out.end()
	return nil
}

// Reset ends the connection as a peer does that is gone: what it had sent and is not read yet is thrown away.
func (c *Conn) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.in.refuse(net.ErrClosed)
	c.out.reset()
}

// CloseWrite tells the peer that nothing follows.
func (c *Conn) CloseWrite() error { c.out.end(); return nil }

// CloseRead refuses what still arrives; what has arrived can be read.
func (c *Conn) CloseRead() error { c.in.deafen(); return nil }

// SetLinger makes Close reset the connection if seconds is 0.
func (c *Conn) SetLinger(seconds int) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.linger = seconds == 0
	return nil
}

// LocalAddr implements net.Conn.
func (c *Conn) LocalAddr() net.Addr { return addr("mem") }

// RemoteAddr implements net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	c.in.readers.set(c.in, t)
	c.out.writers.set(c.out, t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *Conn) SetReadDeadline(t time.Time) error { c.in.readers.set(c.in, t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *Conn) SetWriteDeadline(t time.Time) error { c.out.writers.set(c.out, t); return nil }

// stream is one direction.
type stream struct {
	mu      sync.Mutex
	cond    *sync.Cond
	buf     []byte
	ended   bool  // the writer has closed
	deaf    bool  // the reader takes what is in buf and nothing more
	broken  error // of the reader: reset, or closed here
	refused error // of the writer: the reader has gone

	readers, writers deadline
}

func newStream() *stream {
	s := &stream{}
	s.cond = sync.NewCond(&s.mu)
	return s
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.broken != nil:
			return 0, s.broken
		case s.readers.over():
			return 0, os.ErrDeadlineExceeded
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			s.buf = s.buf[n:]
			s.cond.Broadcast()
			return n, nil
		case s.ended, s.deaf:
			return 0, io.EOF
		}
		s.cond.Wait()
	}
}

func (s *stream) write(p []byte) (n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(p) > 0 {
		switch {
		case s.refused != nil:
			return n, s.refused
		case s.ended:
			return n, net.ErrClosed
		case s.deaf:
			s.refused = syscall.ECONNRESET
			continue
		case s.writers.over():
			return n, os.ErrDeadlineExceeded
		case len(s.buf) < window:
			k := min(len(p), window-len(s.buf))
			s.buf = append(s.buf, p[:k]...)
			n, p = n+k, p[k:]
			s.cond.Broadcast()
			continue
		}
		s.cond.Wait()
	}
	return n, nil
}

// end is the writer's close.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.cond.Broadcast()
}

// deafen is the reader's half-close.
func (s *stream) deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
	s.cond.Broadcast()
}

// reset is the writer's: the reader loses what it has not read.
func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = syscall.ECONNRESET
	}
	s.buf, s.refused = nil, net.ErrClosed
	s.cond.Broadcast()
}

// refuse is the reader's close, and reports whether it leaves something unread.
func (s *stream) refuse(why error) (unread bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	unread = len(s.buf) > 0
	if s.broken == nil {
		s.broken = why
	}
	s.refused = syscall.ECONNRESET
	s.buf = nil
	s.cond.Broadcast()
	return unread
}

// deadline is one side's. The stream's mu guards it.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

func (d *deadline) over() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }

func (d *deadline) set(s *stream, at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.at = at; at.IsZero() {
		return
	}
	wake := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cond.Broadcast()
	}
	if left := time.Until(at); left > 0 {
		d.timer = time.AfterFunc(left, wake)
	}
	s.cond.Broadcast()
}
