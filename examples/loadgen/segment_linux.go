package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// setSegment asks the kernel to split a written buffer into datagrams of size bytes (UDP_SEGMENT, udp(7)), so that a burst is
// one system call. It reports whether the kernel agrees.
func setSegment(c *net.UDPConn, size int) bool {
	raw, err := c.SyscallConn()
	if err != nil || size > 1400 {
		return false // a segment must fit the MTU of the path; the MTU of loopback says nothing about that
	}
	ok := false
	if err := raw.Control(func(fd uintptr) {
		ok = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size) == nil
	}); err != nil {
		return false
	}
	return ok
}
