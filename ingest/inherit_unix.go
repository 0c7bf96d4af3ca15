//go:build unix

package ingest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

func closeOnExec(fd int) { syscall.CloseOnExec(fd) }

// setNonblock makes a socket non-blocking again, which another process may have changed.
func setNonblock(l net.Listener) error {
	c, ok := l.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return err
	}
	cerr := raw.Control(func(fd uintptr) { err = syscall.SetNonblock(int(fd), true) })
	return errors.Join(cerr, err)
}

// isStream reports whether f is a listening stream socket, not a datagram socket.
func isStream(f *os.File) (stream bool, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var typ int
	var serr error
	if err := raw.Control(func(fd uintptr) { typ, serr = syscall.GetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_TYPE) }); err != nil {
		return false, err
	}
	if serr != nil {
		return false, fmt.Errorf("inherited descriptor %q is not a socket: %w", f.Name(), serr)
	}
	switch typ {
	case syscall.SOCK_STREAM:
		return true, nil
	case syscall.SOCK_DGRAM:
		return false, nil
	}
	return false, fmt.Errorf("inherited socket %q is of type %d: want a stream or a datagram socket", f.Name(), typ)
}
