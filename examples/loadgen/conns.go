package main

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

const (
	// answerTime is how long a peer may take to close its side after it has received everything.
	answerTime = 30 * time.Second
	// lastTime is the same after a signal.
	lastTime = time.Second
)

// past is a deadline in the past, which ends every wait.
var past = time.Unix(1, 0)

// datagrams sends each line as a datagram.
type datagrams struct {
	*net.UDPConn
	size int // of each line, if the kernel splits a burst into datagrams (UDP_SEGMENT); otherwise 0
}

func newDatagrams(c *net.UDPConn, size int) *datagrams {
	d := &datagrams{UDPConn: c}
	if size > 0 && setSegment(c, size) {
		d.size = size
	}
	_ = c.SetWriteBuffer(4 << 20) // best effort: a full buffer only makes Write wait
	return d
}

func (d *datagrams) send(b *batch) (int, error) {
	per := 1
	if d.size > 0 {
		per = max(1, maxLine/d.size)
	}
	from, done := 0, 0
	for done < len(b.ends) {
		next := min(len(b.ends), done+per)
		data := b.buf[from:b.ends[next-1]]
		_, err := d.Write(data)
		if errors.Is(err, syscall.ECONNREFUSED) {
			// This error was caused by an earlier datagram, when nobody listened; the kernel has not sent this one. Try once
			// more.
			_, err = d.Write(data)
		}
		if err != nil {
			return done, err
		}
		from, done = b.ends[next-1], next
	}
	return done, nil
}

func (d *datagrams) interrupt()                  { _ = d.SetWriteDeadline(past) }
func (d *datagrams) close(context.Context) error { return d.Close() }
func (d *datagrams) abort()                      { _ = d.Close() }

// stream sends framed lines over TCP or TLS.
type stream struct {
	net.Conn
	framing string
	buf     []byte
	ends    []int
}

func (s *stream) send(b *batch) (int, error) {
	s.buf, s.ends = s.buf[:0], s.ends[:0]
	for i := range b.ends {
		s.buf = appendFrame(s.buf, s.framing, b.line(i))
		s.ends = append(s.ends, len(s.buf))
	}
	written, err := s.Write(s.buf)
	return whole(s.ends, written), err
}

// whole returns how many complete frames are in the first written bytes.
func whole(ends []int, written int) (n int) {
	for n < len(ends) && ends[n] <= written {
		n++
	}
	return n
}

func (s *stream) interrupt() { _ = s.SetWriteDeadline(past) }
func (s *stream) abort()     { _ = s.Conn.Close() }

// close half-closes the connection, and waits until the peer, having read everything, closes the other half.
func (s *stream) close(ctx context.Context) error { return errors.Join(s.finish(ctx), s.Conn.Close()) }

func (s *stream) finish(ctx context.Context) error {
	if err := s.Conn.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
		return err
	}
	_ = s.SetReadDeadline(time.Now().Add(answerTime))
	defer context.AfterFunc(ctx, func() { _ = s.SetReadDeadline(time.Now().Add(lastTime)) })()
	_, err := io.Copy(io.Discard, s.Conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return errSilent
	}
	return err
}
