//go:build !linux

package ingest

import (
	"context"
	"net"
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
