package ingest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

const canReusePort = true

// openSocket binds a socket with all options that must be set before the first datagram, or takes over a bound one. If a
// listener has several sockets, the first is bound without sharing the port. So binding fails if another process uses the
// port; with SO_REUSEPORT the two could share the traffic.
func openSocket(addr string, f *os.File, first bool, o *UDPOptions, log *limiter) (*socket, error) {
	s := &socket{log: log, asked: o.ReceiveBuffer, inherited: f != nil, shared: f != nil && !o.OwnFiles}
	configure := func(_, _ string, c syscall.RawConn) error {
		var err error
		cerr := c.Control(func(fd uintptr) {
			if !first {
				err = s.sharePort(int(fd), o)
			}
			err = errors.Join(err, s.configure(int(fd), o))
		})
		return errors.Join(cerr, err)
	}
	var err error
	if s.conn, err = bind(addr, f, o, log, configure); err != nil {
		return nil, err
	}
	if _, ok := s.conn.(*net.UnixConn); ok {
		o.Network = "unixgram" // the inherited socket is one
	}
	raw, err := s.conn.(syscall.Conn).SyscallConn()
	if err == nil && s.inherited {
		err = configure("", "", raw)
	}
	if err == nil && first {
		cerr := raw.Control(func(fd uintptr) { err = s.sharePort(int(fd), o) })
		err = errors.Join(cerr, err)
	}
	if err != nil {
		s.conn.Close()
		return nil, err
	}
	m := newMmsg(raw, s.gro, o, log)
	m.attrs = s.describe(o)
	if err := m.probe(); err != nil {
		s.conn.Close()
		return nil, err
	}
	s.recv = m
	s.told.errors = readUDPErrors()
	// A unix socket drops nothing: its senders wait.
	if _, s.dropsKnown = m.counts(); !s.dropsKnown {
		log.log.Warn("ingest: getsockopt SO_MEMINFO is refused (Linux before 4.12, or a sandbox); datagrams that the kernel drops are not counted")
	}
	return s, nil
}

func bind(addr string, f *os.File, o *UDPOptions, log *limiter, control func(_, _ string, c syscall.RawConn) error) (net.PacketConn, error) {
	if f != nil {
		return net.FilePacketConn(f)
	}
	if o.Network == "unixgram" {
		return bindUnix(addr, o, log, control)
	}
	lc := net.ListenConfig{Control: control}
	return lc.ListenPacket(context.Background(), o.Network, addr)
}

// sharePort lets the listener's other sockets bind the same port.
func (s *socket) sharePort(fd int, o *UDPOptions) error {
	if o.Sockets < 2 || s.inherited {
		return nil
	}
	return os.NewSyscallError("setsockopt SO_REUSEPORT", unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1))
}

// configure sets the options of a socket, before it is bound if it is ours.
func (s *socket) configure(fd int, o *UDPOptions) error {
	// With CAP_NET_ADMIN, FORCE may exceed net.core.rmem_max.
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, o.ReceiveBuffer) != nil {
		s.without("setsockopt SO_RCVBUF", "the receive buffer is the system's default",
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, o.ReceiveBuffer))
	}
	var err error
	s.buffer, err = unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF)
	s.without("getsockopt SO_RCVBUF", "the size of the receive buffer is unknown", err)
	// The kernel doubles the requested size, for its own overhead. A result below the request means that a limit has
	// reduced it.
	if err == nil && s.buffer < o.ReceiveBuffer {
		s.log.log.Warn("ingest: the kernel granted a smaller receive buffer than requested; raise net.core.rmem_max or give the process"+
			" CAP_NET_ADMIN", "asked", o.ReceiveBuffer, "granted", s.buffer)
	}
	s.without("setsockopt SO_TIMESTAMPNS", "arrival times are those of the reading",
		unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1))
	if o.GRO && o.Network != "unixgram" {
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
			return fmt.Errorf("%w (turn GRO off, or use Linux 5.0 or newer)", os.NewSyscallError("setsockopt UDP_GRO", err))
		}
	}
	// An inherited socket may have GRO on and aggregates in its queue, which can be split only while GRO stays on.
	gro, err := unix.GetsockoptInt(fd, unix.SOL_UDP, unix.UDP_GRO)
	s.gro = err == nil && gro != 0
	// Without a cookie (Linux before 4.6) drops are still counted, but cannot be recognized after a hand-over.
	s.cookie, _ = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_COOKIE)
	return nil
}

// without logs what a listener lacks because the system refuses a call that is not essential.
func (s *socket) without(call, missing string, err error) {
	if err != nil {
		s.log.log.Warn("ingest: a system call is refused; "+missing, "call", call, "err", err)
	}
}
