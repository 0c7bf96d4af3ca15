//go:build !linux

package ingest

import (
	"context"
	"net"
	"time"
)

const canReusePort = false

// openSocket binds a socket that is read one datagram at a time.
func openSocket(addr string, o *UDPOptions, log *limiter) (*socket, error) {
	pc, err := new(net.ListenConfig).ListenPacket(context.Background(), o.Network, addr)
	if err != nil {
		return nil, err
	}
	return newPlainSocket(pc, o, log), nil
}

// acceptQueued accepts a connection that stands in the kernel's queue; an error if there is none for a moment.
func acceptQueued(ln net.Listener) (net.Conn, error) {
	if l, ok := ln.(*net.TCPListener); ok {
		l.SetDeadline(time.Now().Add(settle))
	}
	return ln.Accept()
}
