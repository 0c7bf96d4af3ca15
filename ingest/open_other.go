//go:build !linux

package ingest

import (
	"context"
	"net"
	"os"
)

const canReusePort = false

// openSocket binds a socket that is read one datagram at a time, or takes over a bound one.
func openSocket(addr string, f *os.File, _ bool, o *UDPOptions, log *limiter) (*socket, error) {
	var pc net.PacketConn
	var err error
	if f != nil {
		pc, err = net.FilePacketConn(f)
	} else {
		pc, err = new(net.ListenConfig).ListenPacket(context.Background(), o.Network, addr)
	}
	if err != nil {
		return nil, err
	}
	if f == nil && o.Network == "unixgram" {
		if err := restrict(addr, o, log); err != nil {
			pc.Close()
			return nil, err
		}
	}
	s := newPlainSocket(pc, o, log)
	s.inherited, s.shared = f != nil, f != nil && !o.OwnFiles
	return s, nil
}

// restrict sets which users may send to a unix socket. Until it is called, the umask decides.
func restrict(path string, o *UDPOptions, log *limiter) error {
	a, err := o.access()
	if err != nil {
		return err
	}
	if a.uid >= 0 || a.gid >= 0 {
		if err := os.Lchown(path, a.uid, a.gid); err != nil {
			return err
		}
	}
	if a.mode != 0 {
		if err := os.Chmod(path, a.mode); err != nil {
			return err
		}
	}
	warnAccess(path, a, log)
	return nil
}
