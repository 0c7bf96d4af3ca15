package ingest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

func listenUDP(t testing.TB, o *UDPOptions) *UDP {
	t.Helper()
	u, err := ListenUDP("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func dialUDP(t testing.TB, u *UDP) *net.UDPConn {
	t.Helper()
	c, err := net.Dial("udp", u.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.UDPConn)
}

func send(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// Payloads of every size are kept as they came, with their source and an arrival time between send and check.
func TestUDPPayloads(t *testing.T) {
	for _, network := range []string{"udp4", "udp6", "udp"} {
		t.Run(network, func(t *testing.T) {
			addr := map[string]string{"udp4": "127.0.0.1:0", "udp6": "[::1]:0", "udp": ":0"}[network]
			u, err := ListenUDP(addr, &UDPOptions{Network: network})
			if err != nil {
				t.Skip(err) // no IPv6 here
			}
			s := newSink()
			wait := serve(t, u, s)
			dst := u.Addr().String()
			if network == "udp" { // a dual-stack socket that is talked to by IPv4
				dst = "127.0.0.1:" + dst[strings.LastIndex(dst, ":")+1:]
			}
			c, err := net.Dial("udp", dst)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			begin := time.Now().UnixNano()
			var want [][]byte
			for _, n := range []int{0, 1, 512, 1400, 8900, 65507, 0} {
				b := make([]byte, n)
				for i := range b {
					b[i] = byte(rand.Uint32())
				}
				want = append(want, b)
				send(t, c, b)
			}
			shutdown(t, u)
			wait()
			if len(s.recs) != len(want) {
				t.Fatalf("%d records, want %d", len(s.recs), len(want))
			}
			src := c.LocalAddr().(*net.UDPAddr).AddrPort()
			for i, r := range s.recs {
				if !bytes.Equal(r.Data, want[i]) {
					t.Errorf("record %d: %d bytes, want %d", i, len(r.Data), len(want[i]))
				}
				if r.Src != src {
					t.Errorf("record %d from %v, want %v", i, r.Src, src)
				}
				if r.Time < begin-int64(time.Millisecond) || r.Time > time.Now().UnixNano() {
					t.Errorf("record %d arrived at %v", i, time.Unix(0, r.Time))
				}
			}
			s.balance(t, u.Stats())
		})
	}
}

func TestUDPTruncated(t *testing.T) {
	u := listenUDP(t, &UDPOptions{MaxRecord: 100})
	s := newSink()
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	for _, n := range []int{100, 101, 5000, 99} {
		send(t, c, make([]byte, n))
	}
	shutdown(t, u)
	wait()
	st := u.Stats()
	if got, want := st.Lost[segment.Truncated], (segment.Loss{Records: 2, Bytes: 5101}); got != want {
		t.Errorf("truncated %+v, want %+v", got, want)
	}
	if s.n != 2 || s.bytes != 199 {
		t.Errorf("kept %d records, %d bytes", s.n, s.bytes)
	}
	if st.Received != (segment.Tally{Records: 4, Bytes: 5300}) {
		t.Errorf("received %+v", st.Received)
	}
	s.balance(t, st)
}

// Every datagram of a deliberate overflow is counted: sent = kept + lost.
func TestUDPDropsExact(t *testing.T) {
	for range 5 {
		u := listenUDP(t, &UDPOptions{ReceiveBuffer: 64 << 10, Sockets: 2})
		s := newSink()
		s.blocked = true
		wait := serve(t, u, s)
		const sent, senders = 4000, 4 // several flows, so that both sockets get some
		for range senders {
			c := dialUDP(t, u)
			for range sent / senders {
				send(t, c, make([]byte, 300))
			}
		}
		s.update(func() { s.blocked = false })
		shutdown(t, u)
		wait()
		st := u.Stats()
		l := st.Lost[segment.KernelOverflow]
		lost := l.Records
		if lost == 0 {
			t.Error("nothing overflowed")
		}
		if s.n+lost != sent {
			t.Errorf("kept %d + lost %d, want %d", s.n, lost, sent)
		}
		if !l.BytesUnknown || l.AtLeast {
			t.Errorf("%+v, want an exact count of unknown bytes", l)
		}
		s.balance(t, st)
	}
}

// Drops are accounted while the listener waits for its sink, not only afterwards.
func TestUDPDropsWhileWaiting(t *testing.T) {
	u := listenUDP(t, &UDPOptions{ReceiveBuffer: 4096})
	s := newSink()
	s.blocked = true
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	send(t, c, []byte("the one that waits"))
	s.await(t, "a waiting Offer", func() bool { return s.waiting > 0 })
	for range 1000 {
		send(t, c, make([]byte, 300))
	}
	s.await(t, "an account of drops", func() bool { return s.acct.Lost[segment.KernelOverflow].Records > 0 })
	if s.acct.Socket == 0 || s.acct.Drops != s.acct.Lost[segment.KernelOverflow].Records {
		t.Errorf("%+v", s.acct)
	}
	s.update(func() { s.blocked = false })
	shutdown(t, u)
	wait()
	s.balance(t, u.Stats())
}

// Everything that was sent before a socket was detached is received, although the senders never pause.
func TestUDPShutdownUnderTraffic(t *testing.T) {
	for range 3 {
		u := listenUDP(t, &UDPOptions{Sockets: 3})
		s := newSink()
		s.keep = false
		wait := serve(t, u, s)
		var wg sync.WaitGroup
		var sent atomic.Uint64
		for range 4 {
			c := dialUDP(t, u)
			wg.Go(func() {
				b := make([]byte, 200)
				// The first refusal (ICMP port unreachable) is for the datagram before: sent and not received.
				for {
					if _, err := c.Write(b); err != nil {
						return
					}
					sent.Add(1)
				}
			})
		}
		s.await(t, "20,000 records", func() bool { return s.n > 20_000 })
		shutdown(t, u)
		wait()
		wg.Wait()
		st := u.Stats()
		// Each of 4 senders can have at most two datagrams in transit when it learns of the refusal: the refused one, and
		// the one after it.
		if got := st.Received.Records; got > sent.Load() || sent.Load()-got > 8 {
			t.Errorf("sent %d, received %d", sent.Load(), got)
		}
		s.balance(t, st)
	}
}

// If a sink fails for a while, nothing is lost; a batch that it has taken or rejected is not offered again.
func TestUDPSinkErrors(t *testing.T) {
	u := listenUDP(t, nil)
	s := newSink()
	s.err = errors.New("disk on fire")
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	send(t, c, []byte("a"))
	s.await(t, "three attempts", func() bool { return s.refused >= 3 })
	s.update(func() { s.err = nil })
	s.await(t, "the record", func() bool { return s.n == 1 })
	s.update(func() { s.err, s.refused = errFull{}, 0 })
	send(t, c, []byte("b"))
	s.await(t, "one refusal", func() bool { return s.refused == 1 })
	s.update(func() { s.err, s.late = errors.New("not on the disk yet"), true })
	send(t, c, []byte("c"))
	s.await(t, "the third record", func() bool { return s.n == 2 })
	s.update(func() { s.err = nil })
	send(t, c, []byte("d"))
	shutdown(t, u)
	wait()
	if got := s.payloads(); len(got) != 3 || got[0] != "a" || got[1] != "c" || got[2] != "d" {
		t.Errorf("kept %q", got)
	}
	if n := u.Stats().InHand; n != (segment.Tally{}) {
		t.Errorf("in hand %+v", n)
	}
}

type errFull struct{}

func (errFull) Error() string  { return "full" }
func (errFull) Rejected() bool { return true }

// A Shutdown that cannot finish reports what is in hand; the listener continues to try, and Shutdown can be called again.
func TestUDPShutdownStuck(t *testing.T) {
	u := listenUDP(t, nil)
	s := newSink()
	s.blocked = true
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	send(t, c, []byte("12345"))
	s.await(t, "a waiting Offer", func() bool { return s.waiting > 0 })
	send(t, c, []byte("678"))
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := u.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 records (5 bytes) in hand") {
		t.Fatalf("Shutdown: %v", err)
	}
	s.update(func() { s.blocked = false })
	shutdown(t, u)
	wait()
	if s.n != 2 {
		t.Errorf("kept %d", s.n)
	}
	s.balance(t, u.Stats())
}

// Close gives records up, and logs that.
func TestUDPClose(t *testing.T) {
	u := listenUDP(t, nil)
	s := newSink()
	s.blocked = true
	wait := serve(t, u, s)
	c := dialUDP(t, u)
	send(t, c, []byte("12345"))
	s.await(t, "a waiting Offer", func() bool { return s.waiting > 0 })
	send(t, c, []byte("678"))
	u.Close()
	wait()
	if n := u.Stats().Lost[segment.GivenUp]; n != (segment.Loss{Records: 2, Bytes: 8}) {
		t.Errorf("given up %+v", n)
	}
	if err := u.Shutdown(t.Context()); err == nil {
		t.Error("Shutdown after Close does not tell of the loss")
	}
	s.balance(t, u.Stats())
	u.Close()
}

func TestServeTwiceAndNever(t *testing.T) {
	u := listenUDP(t, nil)
	if err := u.Close(); err != nil {
		t.Error(err)
	}
	if err := u.Serve(newSink()); err != ErrServerClosed {
		t.Errorf("Serve after Close: %v", err)
	}
	shutdown(t, u)
	u = listenUDP(t, nil)
	s := newSink()
	serve(t, u, s)
	send(t, dialUDP(t, u), nil)
	s.await(t, "a record", func() bool { return s.n == 1 })
	if err := u.Serve(s); err == nil || errors.Is(err, ErrServerClosed) {
		t.Errorf("second Serve: %v", err)
	}
}

func TestUDPStats(t *testing.T) {
	u := listenUDP(t, &UDPOptions{ReceiveBuffer: 100_000})
	st := u.Stats()
	if !st.DropsKnown || st.ReceiveBuffer < 100_000 || !st.LastRecord.IsZero() {
		t.Errorf("%+v", st)
	}
	s := newSink()
	serve(t, u, s)
	send(t, dialUDP(t, u), []byte("x"))
	s.await(t, "a record", func() bool { return s.n == 1 })
	if since := time.Since(u.Stats().LastRecord); since < 0 || since > 20*time.Second {
		t.Errorf("quiet since %v", since)
	}
}

func TestUDPOptionsBad(t *testing.T) {
	_, err := ListenUDP("127.0.0.1:0", &UDPOptions{
		Network: "tcp", Sockets: -1, ReceiveBuffer: 1, MaxRecord: 70_000, ExpectedRate: -1,
	})
	for _, want := range []string{"Network", "Sockets", "ReceiveBuffer", "ExpectedRate"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := ListenUDP("127.0.0.1:0", &UDPOptions{MaxRecord: 70_000}); err == nil {
		t.Error("MaxRecord 70000 was accepted")
	}
	if _, err := ListenUDP("nowhere", nil); err == nil {
		t.Error("an address without a port was accepted")
	}
}

func TestUnixgram(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	for range 2 { // the second finds what the first left behind
		u, err := ListenUDP(path, &UDPOptions{Network: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ListenUDP(path, &UDPOptions{Network: "unixgram"}); err == nil {
			t.Fatal("one path, two listeners")
		}
		s := newSink()
		wait := serve(t, u, s)
		c, err := net.Dial("unixgram", path)
		if err != nil {
			t.Fatal(err)
		}
		big := bytes.Repeat([]byte("x"), 65535)
		for _, b := range [][]byte{[]byte("hello"), {}, big} {
			send(t, c, b)
		}
		shutdown(t, u)
		wait()
		if _, err := c.Write([]byte("late")); err == nil {
			t.Error("a sender was not told that nobody listens")
		}
		c.Close()
		if got := s.payloads(); len(got) != 3 || got[0] != "hello" || got[1] != "" || got[2] != string(big) {
			t.Errorf("kept %d records", len(got))
		}
		if s.recs[0].Src != (netip.AddrPort{}) {
			t.Errorf("source %v", s.recs[0].Src)
		}
		s.balance(t, u.Stats())
	}
}
