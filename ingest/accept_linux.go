package ingest

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// queuedIn returns how many unread bytes of a connection the kernel has queued; 0 if the kernel does not say.
func queuedIn(c net.Conn) (bytes int64) {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return 0
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return 0
	}
	_ = raw.Control(func(fd uintptr) {
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ); err == nil {
			bytes = int64(n)
		}
	})
	return bytes
}

// acceptQueued accepts a connection from the kernel's queue. It returns os.ErrDeadlineExceeded if the queue is empty.
func acceptQueued(ln net.Listener) (net.Conn, error) {
	l, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, net.ErrClosed
	}
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, err
	}
	// poll(2) reports an empty queue. With a short deadline instead, a busy machine would give up too early.
	n := 0
	err = raw.Control(func(fd uintptr) { n, _ = unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0) })
	if err != nil || n == 0 {
		return nil, errors.Join(os.ErrDeadlineExceeded, err)
	}
	l.SetDeadline(time.Now().Add(time.Second)) // it may have been reset in the meantime
	return l.Accept()
}
