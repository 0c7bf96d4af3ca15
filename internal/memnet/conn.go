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

// window is the size of a receive buffer. Bytes in it are acknowledged to the peer, but not yet read.
const window = 64 << 10

// Conn is one end of a connection.
type Conn struct {
	in, out *stream
	remote  net.Addr

	mu     sync.Mutex
	linger bool // Close must reset the connection
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

// Write implements net.Conn. It returns once all of p is in the peer's receive buffer.
func (c *Conn) Write(p []byte) (int, error) { return c.out.write(p) }

// Close implements net.Conn. The peer sees a reset if some of its bytes were not read, or after SetLinger(0).
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

// Reset ends the connection as if this end had crashed: the peer loses data that it has not read yet.
func (c *Conn) Reset() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	c.in.refuse(net.ErrClosed)
	c.out.reset()
}

// CloseWrite tells the peer that no more data follows.
func (c *Conn) CloseWrite() error { c.out.end(); return nil }

// CloseRead refuses further data; data that has arrived can still be read.
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

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex
	cond    *sync.Cond
	buf     []byte
	ended   bool  // the writer has closed
	deaf    bool  // the reader still reads buf, but refuses further data
	broken  error // the error of reads: a reset, or this end is closed
	refused error // the error of writes: the reader has closed

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

// end is called when the writer closes.
func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.cond.Broadcast()
}

// deafen is called when the reader half-closes.
func (s *stream) deafen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deaf = true
	s.cond.Broadcast()
}

// reset is called when the writer resets: the reader loses the data that it has not read.
func (s *stream) reset() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken == nil {
		s.broken = syscall.ECONNRESET
	}
	s.buf, s.refused = nil, net.ErrClosed
	s.cond.Broadcast()
}

// refuse is called when the reader closes. It reports whether data was left unread.
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

// deadline is the deadline of one side. The stream's mu guards it.
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
