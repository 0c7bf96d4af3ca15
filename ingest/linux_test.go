package ingest

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// bytesAcked is how many bytes the peer's kernel has acknowledged.
func bytesAcked(t testing.TB, c *net.TCPConn) (n uint64) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) {
			var info *unix.TCPInfo
			if info, err = unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
				n = info.Bytes_acked
			}
		})
	}
	if err != nil {
		t.Error(err)
	}
	return n
}
