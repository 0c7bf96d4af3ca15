package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/spool/segment"
)

// Datagrams that are queued in a socket when its listener gives up were received, and each is counted.
func TestUDPCloseCountsQueue(t *testing.T) {
	for _, network := range []string{"udp", "unixgram"} {
		t.Run(network, func(t *testing.T) {
			addr := "127.0.0.1:0"
			if network == "unixgram" {
				addr = t.TempDir() + "/s"
			}
			u, err := ListenUDP(addr, &UDPOptions{Network: network})
			if err != nil {
				t.Fatal(err)
			}
			s := newSink()
			s.blocked = true
			wait := serve(t, u, s)
			c, err := net.Dial(network, u.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			const sent = 10 // a unix socket queues no more
			for i := range sent {
				send(t, c, make([]byte, 100))
				if i == 0 {
					s.await(t, "a waiting Offer", func() bool { return s.waiting > 0 })
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			if err := u.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) ||
				network == "udp" && strings.Contains(err.Error(), " 0 bytes in sockets") { // for a unix socket the kernel does not say
				t.Errorf("Shutdown: %v", err)
			}
			u.Close()
			wait()
			if n := u.Stats().Lost[segment.GivenUp]; n != (segment.Loss{Records: sent, Bytes: sent * 100}) {
				t.Errorf("given up %+v", n)
			}
			s.balance(t, u.Stats())
		})
	}
}

// A listener that ends without having been served has no sink for its account, so only its Stats have the counts.
func TestEndBeforeServe(t *testing.T) {
	u := listenUDP(t, nil)
	c := dialUDP(t, u)
	for range 3 {
		send(t, c, []byte("four"))
	}
	u.Close()
	if st := u.Stats(); st.Lost[segment.GivenUp] != (segment.Loss{Records: 3, Bytes: 12}) || st.Received.Records != 3 {
		t.Errorf("UDP: %+v", st)
	}
	l := listenTCP(t, &TCPOptions{Framing: Newline})
	send(t, dialTCP(t, l), []byte("one\ntwo\n"))
	send(t, dialTCP(t, l), []byte("three"))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := l.Shutdown(ctx); !errors.Is(err, ErrServerClosed) {
		t.Errorf("Shutdown does not tell of the loss: %v", err)
	}
	if st := l.Stats(); st.Lost[segment.GivenUp] != (segment.Loss{Records: 3, Bytes: 11}) || st.Received.Records != 3 {
		t.Errorf("TCP: %+v", st)
	}
}

// stuckReceiver is a socket whose reads are refused.
type stuckReceiver struct{ receiver }

func (stuckReceiver) receive(bool) (burst, error) { return burst{}, unix.EPERM }

// If the queue cannot be read, the kernel still reports its memory, from which follows an upper bound, marked as such.
func TestUDPUnreadable(t *testing.T) {
	u := listenUDP(t, nil)
	s := newSink()
	u.sockets[0].recv = stuckReceiver{u.sockets[0].recv}
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	for range 100 {
		send(t, c, []byte("x"))
	}
	u.Close()
	wait()
	n := u.Stats().Lost[segment.GivenUp]
	if n.Records < 100 || n.Records > 1000 || !n.AtMost || !n.BytesUnknown {
		t.Errorf("given up %+v", n)
	}
	s.balance(t, u.Stats())
}

// When a listener gives up, it reads and cuts everything that TCP has acknowledged to its peers: the count is exact.
func TestTCPCloseCountsQueue(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline})
	s := newSink()
	s.blocked = true
	wait := serve(t, l, s)
	const conns, lines = 3, 3000 // more than one Append takes
	for range conns {
		c := dialTCP(t, l)
		send(t, c, []byte("first\n"))
	}
	s.await(t, "all that wait", func() bool { return s.waiting == conns })
	late := dialTCP(t, l)
	for range lines {
		send(t, late, []byte("a line\n"))
	}
	s.await(t, "the last one, which waits", func() bool { return s.waiting == conns+1 })
	l.Close()
	wait()
	if n := l.Stats().Lost[segment.GivenUp]; n != (segment.Loss{Records: conns + lines, Bytes: conns*5 + lines*6}) {
		t.Errorf("given up %+v", n)
	}
	s.balance(t, l.Stats())
}

// The connection of a malformed stream is closed, and the bytes that the peer has sent after the malformed part are
// counted too.
func TestTCPMalformedCountsQueue(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: OctetCounting})
	s := newSink()
	s.blocked = true
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	send(t, c, []byte("4 good"))
	s.await(t, "a record that waits", func() bool { return s.waiting == 1 })
	garbage := bytes.Repeat([]byte("garbage"), 20_000)
	send(t, c, garbage)
	s.update(func() { s.blocked = false })
	awaitConns(t, l, 0)
	if n := l.Stats().Lost[segment.Malformed]; n != (segment.Loss{Records: 1, Bytes: uint64(len(garbage)), AtLeast: true}) {
		t.Errorf("malformed %+v of %d bytes", n, len(garbage))
	}
	shutdown(t, l)
	wait()
	s.balance(t, l.Stats())
}

// What arrives just when a connection has been idle for too long is read, and kept.
func TestTCPIdleKeepsQueue(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline, IdleTimeout: time.Hour})
	s := newSink()
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	send(t, c, []byte("one\n"))
	s.await(t, "a record", func() bool { return s.n == 1 })
	s.update(func() { s.blocked = true })
	send(t, c, []byte("two\n"))
	s.await(t, "a record that waits", func() bool { return s.waiting == 1 })
	send(t, c, []byte(strings.Repeat("more\n", 20_000))) // more than one read takes
	for k := range l.conns.all {                         // as if the timer had struck between two reads
		k.mu.Lock()
		k.deadline = time.Now().Add(time.Hour)
		k.nc.SetReadDeadline(past)
		k.mu.Unlock()
	}
	s.update(func() { s.blocked = false })
	awaitConns(t, l, 0)
	if s.n != 20_002 {
		t.Errorf("kept %d of 20,002", s.n)
	}
	shutdown(t, l)
	wait()
}

// What the peer of a connection over the limit has sent already is counted.
func TestTCPRefusedCounts(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline, MaxConns: 1})
	dialTCP(t, l)
	c := dialTCP(t, l)
	send(t, c, []byte("refused\n"))
	s := newSink()
	wait := serve(t, l, s)
	s.await(t, "a loss", func() bool { return lostRecords(&s.acct.Lost) == 1 })
	if n := l.Stats().Lost[segment.Refused]; n != (segment.Loss{Records: 1, Bytes: 8, AtLeast: true}) {
		t.Errorf("refused %+v", fmt.Sprint(n))
	}
	l.Close()
	wait()
	s.balance(t, l.Stats())
}
