package ingest

import (
	"bytes"
	"net"
	"sync/atomic"
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
		var sent atomic.Uint64
		const conns = 4
		for range conns {
			c := dialTCP(t, l)
			go func() {
				for {
					n, err := c.Write(block)
					sent.Add(uint64(n))
					if err != nil {
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
		// Without the LFs; the last line of a connection may be cut anywhere. Data that the kernel has received but not
		// acknowledged yet (delayed ACK) is kept too.
		got := s.bytes + s.bytes/99
		if got > sent.Load()+conns || got+2*conns < sum {
			t.Errorf("%d bytes were sent, peers were told of %d, %d were kept (grace %v)", sent.Load(), sum, got, grace)
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
