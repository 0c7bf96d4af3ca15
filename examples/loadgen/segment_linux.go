package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// setSegment asks the kernel to cut what is written into datagrams of size bytes (UDP_SEGMENT, udp(7)): one system call
// for a burst. It reports whether the kernel will.
func setSegment(c *net.UDPConn, size int) bool {
	raw, err := c.SyscallConn()
	if err != nil || size > 1400 {
		return false // a segment must fit the path's MTU, which loopback's is not a measure of
	}
	ok := false
	if err := raw.Control(func(fd uintptr) {
		ok = unix.SetsockoptInt(int(fd), unix.IPPROTO_UDP, unix.UDP_SEGMENT, size) == nil
	}); err != nil {
		return false
	}
	return ok
}
