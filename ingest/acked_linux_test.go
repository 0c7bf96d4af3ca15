package ingest

import (
	"bytes"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Shutdown keeps what the kernel had acknowledged, although the senders never stop.
func TestTCPShutdownUnderTraffic(t *testing.T) {
	for _, grace := range []time.Duration{-1, 20 * time.Millisecond} {
		l := listenTCP(t, &TCPOptions{Framing: Newline, Grace: grace})
		s := newSink()
		s.keep = false
		wait := serve(t, l, s)
		line := append(bytes.Repeat([]byte("x"), 99), '\n')
		block := bytes.Repeat(line, 100)
		acked := make(chan uint64)
		const conns = 4
		for range conns {
			c := dialTCP(t, l)
			go func() {
				for {
					if _, err := c.Write(block); err != nil {
						break
					}
				}
				acked <- bytesAcked(t, c)
			}()
		}
		s.await(t, "some records", func() bool { return s.n > 50_000 })
		shutdown(t, l)
		wait()
		var sum uint64
		for range conns {
			sum += <-acked
		}
		// Without the LFs; the last line of a connection may be cut anywhere.
		got := s.bytes + s.bytes/99
		if got > sum+conns || got+2*conns < sum {
			t.Errorf("peers were told of %d bytes, %d were kept (grace %v)", sum, got, grace)
		}
		s.balance(t, l.Stats())
	}
}

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
