package ingest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

func listenTCP(t testing.TB, o *TCPOptions) *TCP {
	t.Helper()
	l, err := ListenTCP("127.0.0.1:0", o)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func dialTCP(t testing.TB, l *TCP) *net.TCPConn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.(*net.TCPConn)
}

// awaitConns waits until so many connections are open.
func awaitConns(t testing.TB, l *TCP, n int) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); l.Stats().Conns != n; runtime.Gosched() {
		if time.Now().After(end) {
			t.Fatalf("%d connections, want %d", l.Stats().Conns, n)
		}
	}
}

func TestTCPRecords(t *testing.T) {
	l := listenTCP(t, nil)
	s := newSink()
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	begin := time.Now().UnixNano()
	send(t, c, []byte("one\n3 two\r\nthree\r\nunterminated"))
	c.Close()
	s.await(t, "4 records", func() bool { return s.n == 4 })
	shutdown(t, l)
	wait()
	if got := fmt.Sprint(s.payloads()); got != "[one two three unterminated]" {
		t.Errorf("kept %s", got)
	}
	for _, r := range s.recs {
		if r.Src != c.LocalAddr().(*net.TCPAddr).AddrPort() || r.Time < begin || r.Time > time.Now().UnixNano() {
			t.Errorf("from %v at %d", r.Src, r.Time)
		}
	}
	s.balance(t, l.Stats())
}

// Frames from one byte to the limit, over many connections at once, arrive whole and in order.
func TestTCPLarge(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Len32, MaxRecord: 300_000, MemoryBytes: 400_000}) // room for one large frame
	s := newSink()
	wait := serve(t, l, s)
	var wg sync.WaitGroup
	const conns = 4
	for i := range conns {
		c := dialTCP(t, l)
		wg.Go(func() {
			defer c.Close()
			for _, n := range []int{1, 0, 65_000, 65_536, 300_000, 10, 70_000, 300_001, 299_999} {
				b := append([]byte{0, byte(n >> 16), byte(n >> 8), byte(n)}, bytes.Repeat([]byte{byte('a' + i)}, n)...)
				if _, err := c.Write(b); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	s.await(t, "all frames", func() bool { return s.n+lostRecords(&s.acct.Lost) == 9*conns })
	shutdown(t, l)
	wait()
	sizes := map[byte][]int{}
	for _, r := range s.recs {
		k := byte(0)
		if len(r.Data) > 0 {
			k = r.Data[0]
			if bytes.Count(r.Data, []byte{k}) != len(r.Data) {
				t.Errorf("a frame of %q holds something else", k)
			}
		}
		sizes[k] = append(sizes[k], len(r.Data))
	}
	for i := range conns {
		if got := fmt.Sprint(sizes[byte('a'+i)]); got != "[1 65000 65536 300000 10 70000 299999]" {
			t.Errorf("connection %d: %s", i, got)
		}
	}
	if got, want := l.Stats().Lost[segment.FrameTooLong], (segment.Loss{Records: conns, Bytes: conns * 300_001}); got != want {
		t.Errorf("too long: %+v, want %+v", got, want)
	}
	s.balance(t, l.Stats())
	if l.memory.free != 400_000 {
		t.Errorf("%d bytes of the budget came back", l.memory.free)
	}
}

// The bytes of an incomplete frame at a reset are counted as lost; the complete frames before it are kept.
func TestTCPReset(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline})
	s := newSink()
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	send(t, c, []byte("one\ntwo"))
	s.await(t, "a record", func() bool { return s.n == 1 })
	c.SetLinger(0)
	c.Close()
	s.await(t, "a loss", func() bool { return lostRecords(&s.acct.Lost) == 1 })
	shutdown(t, l)
	wait()
	if got := l.Stats().Lost[segment.Reset]; got != (segment.Loss{Records: 1, Bytes: 3}) {
		t.Errorf("reset: %+v", got)
	}
	s.balance(t, l.Stats())
}

// Garbage in place of a length ends the connection and is counted; other connections continue.
func TestTCPMalformed(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: OctetCounting, Grace: -1})
	s := newSink()
	wait := serve(t, l, s)
	good, bad := dialTCP(t, l), dialTCP(t, l)
	send(t, good, []byte("3 one"))
	send(t, bad, []byte("3 twoGET / HTTP/1.1\r\n\r\n"))
	if _, err := io.Copy(io.Discard, bad); err != nil {
		t.Log(err) // closed or reset, as the bytes arrived
	}
	send(t, good, []byte("5 three"))
	s.await(t, "3 records", func() bool { return s.n == 3 })
	shutdown(t, l)
	wait()
	if got := l.Stats().Lost[segment.Malformed]; got.Records != 1 || got.Bytes == 0 {
		t.Errorf("malformed: %+v", got)
	}
	s.balance(t, l.Stats())
}

// While the sink waits, the peer can send no more than the kernel's buffers hold; then everything arrives.
func TestTCPSlowSink(t *testing.T) {
	l := listenTCP(t, nil)
	s := newSink()
	s.keep, s.blocked = false, true
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	c.SetWriteBuffer(64 << 10)
	line := append(bytes.Repeat([]byte("x"), 1023), '\n')
	sent := 0
	for {
		c.SetWriteDeadline(time.Now().Add(200 * time.Millisecond))
		n, err := c.Write(line[sent%len(line):])
		sent += n
		if err != nil {
			break // no more is taken
		}
		if sent > 512<<20 {
			t.Fatal("a stuck sink does not slow its peers")
		}
	}
	s.update(func() { s.blocked = false })
	c.SetWriteDeadline(time.Time{})
	for range 2000 {
		n, err := c.Write(line[sent%len(line):])
		if err != nil {
			t.Fatal(err)
		}
		sent += n
	}
	c.Close()
	s.await(t, "everything", func() bool { return s.bytes == uint64(sent)/1024*1023+uint64(sent%1024) })
	shutdown(t, l)
	wait()
	s.balance(t, l.Stats())
}

func TestTCPConnLimits(t *testing.T) {
	l := listenTCP(t, &TCPOptions{MaxConns: 3, MaxConnsPerSource: 2, Grace: -1})
	s := newSink()
	wait := serve(t, l, s)
	from := func(ip string) *net.TCPConn {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(ip)}}
		c, err := d.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c.(*net.TCPConn)
	}
	refused := func(c net.Conn) {
		t.Helper()
		if n, err := c.Read(make([]byte, 1)); n > 0 || err == nil {
			t.Error("not refused")
		}
	}
	a := from("127.0.0.1")
	from("127.0.0.1")
	awaitConns(t, l, 2)
	refused(from("127.0.0.1"))
	from("127.0.0.2")
	awaitConns(t, l, 3)
	refused(from("127.0.0.3"))
	a.Close()
	awaitConns(t, l, 2)
	b := from("127.0.0.1")
	send(t, b, []byte("hello\n"))
	s.await(t, "a record", func() bool { return s.n == 1 })
	if got := l.Stats().Refused; got != 2 {
		t.Errorf("%d refused", got)
	}
	shutdown(t, l)
	wait()
}

func TestTCPTimeouts(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		l := listenTCP(t, &TCPOptions{IdleTimeout: 20 * time.Millisecond})
		s := newSink()
		serve(t, l, s)
		c := dialTCP(t, l)
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("%v", err)
		}
	})
	t.Run("frame", func(t *testing.T) { // a byte now and then does not help
		l := listenTCP(t, &TCPOptions{FrameTimeout: 100 * time.Millisecond, Framing: OctetCounting})
		s := newSink()
		serve(t, l, s)
		c := dialTCP(t, l)
		closed := make(chan struct{})
		go func() { io.Copy(io.Discard, c); close(closed) }()
		c.Write([]byte("1000 "))
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for open := true; open; {
			select {
			case <-closed:
				open = false
			case <-tick.C:
				c.Write([]byte("x"))
			}
		}
		s.await(t, "a loss", func() bool { return s.acct.Lost[segment.Malformed].Records == 1 })
	})
}

// A sender that closes gracefully loses nothing at a Shutdown, even on connections that were not accepted yet.
func TestTCPShutdownBacklog(t *testing.T) {
	l := listenTCP(t, nil)
	s := newSink()
	var conns []*net.TCPConn
	for i := range 10 {
		c := dialTCP(t, l)
		send(t, c, []byte(numbered(i)+"\n"))
		conns = append(conns, c)
	}
	wait := serve(t, l, s)
	for _, c := range conns {
		go func() { io.Copy(io.Discard, c); c.Close() }() // until told
	}
	shutdown(t, l)
	wait()
	if s.n != 10 {
		t.Errorf("kept %d of 10", s.n)
	}
}

func TestTCPShutdownStuck(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Grace: -1})
	s := newSink()
	s.blocked = true
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	send(t, c, []byte("12345\n"))
	s.await(t, "a waiting Append", func() bool { return s.waiting > 0 })
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	err := l.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 records (5 bytes) in hand") {
		t.Fatalf("Shutdown: %v", err)
	}
	s.update(func() { s.err, s.blocked = errors.New("no"), false })
	s.await(t, "attempts", func() bool { return s.refused > 1 })
	s.update(func() { s.err = nil })
	shutdown(t, l)
	wait()
	if s.n != 1 {
		t.Errorf("kept %d", s.n)
	}
	s.balance(t, l.Stats())
}

func TestTCPClose(t *testing.T) {
	l := listenTCP(t, nil)
	s := newSink()
	s.blocked = true
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	dialTCP(t, l)
	send(t, c, []byte("12345\n"))
	s.await(t, "a waiting Append", func() bool { return s.waiting > 0 })
	l.Close()
	wait()
	if n := l.Stats().Lost[segment.GivenUp]; n != (segment.Loss{Records: 1, Bytes: 5}) {
		t.Errorf("given up %+v", n)
	}
	s.balance(t, l.Stats())
	l.Close()
}

// An embedder's Framer that misbehaves ends only its own connection.
func TestTCPBadFramer(t *testing.T) {
	for name, f := range map[string]funcFramer{
		"too far":  func(d []byte, _ bool) (int, []byte, error) { return len(d) + 1, d, nil },
		"backward": func(d []byte, _ bool) (int, []byte, error) { return -1, nil, nil },
		"endless":  func(d []byte, _ bool) (int, []byte, error) { return 0, d, nil },
		"stuck":    func(d []byte, _ bool) (int, []byte, error) { return 0, nil, nil },
		"lost":     func(d []byte, _ bool) (int, []byte, error) { return 0, nil, &LostFrame{Cause: segment.Malformed} },
	} {
		t.Run(name, func(t *testing.T) {
			l := listenTCP(t, &TCPOptions{MaxRecord: 100, Framing: func(*Stream) Framer { return f }})
			s := newSink()
			serve(t, l, s)
			c := dialTCP(t, l)
			c.Write(make([]byte, smallBuffer))
			c.CloseWrite()
			s.await(t, "one loss", func() bool { return lostRecords(&s.acct.Lost) == 1 })
			io.Copy(io.Discard, c)
		})
	}
}

type funcFramer func(data []byte, eof bool) (int, []byte, error)

func (f funcFramer) Next(data []byte, eof bool) (int, []byte, error) { return f(data, eof) }

func TestTCPOptionsBad(t *testing.T) {
	_, err := ListenTCP("127.0.0.1:0", &TCPOptions{
		Network: "udp", MaxRecord: -1, MaxConns: -1, MaxConnsPerSource: -1, HandshakeTimeout: -1,
	})
	for _, want := range []string{"Network", "MaxRecord ", "MaxConns ", "MaxConnsPerSource", "HandshakeTimeout"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
	if _, err := ListenTCP("127.0.0.1:0", &TCPOptions{MemoryBytes: 1000}); err == nil {
		t.Error("a budget too small for one frame was accepted")
	}
	if _, err := ListenTCP("nowhere", nil); err == nil {
		t.Error("an address without a port was accepted")
	}
}

// A frame that is too long is accounted for while it arrives: it may take hours, or never end.
func TestTCPTooLongCountsAtOnce(t *testing.T) {
	for name, tt := range map[string]struct {
		framing    Framing
		begin, end string
		bytes      uint64
	}{
		"newline": {Newline, strings.Repeat("x", 201), "yy\nok\n", 203},
		"auto":    {Auto, strings.Repeat("x", 201), "yy\nok\n", 203},
		"octet":   {OctetCounting, "203 " + strings.Repeat("x", 200), "yyy2 ok", 203},
		"len16":   {Len16, "\x00\xcb" + strings.Repeat("x", 200), "yyy\x00\x02ok", 203},
	} {
		t.Run(name, func(t *testing.T) {
			l := listenTCP(t, &TCPOptions{Framing: tt.framing, MaxRecord: 100})
			s := newSink()
			wait := serve(t, l, s)
			c := dialTCP(t, l)
			send(t, c, []byte(tt.begin))
			s.await(t, "a loss while the frame goes on", func() bool {
				return s.acct.Lost[segment.FrameTooLong] == segment.Loss{Records: 1, Bytes: 200}
			})
			send(t, c, []byte(tt.end))
			s.await(t, "the next frame", func() bool { return s.n == 1 })
			shutdown(t, l)
			wait()
			if n := l.Stats().Lost[segment.FrameTooLong]; n != (segment.Loss{Records: 1, Bytes: tt.bytes}) {
				t.Errorf("too long: %+v", n)
			}
			s.balance(t, l.Stats())
		})
	}
}

// Lines that begin with a date are lines.
func TestTCPDateLines(t *testing.T) {
	l := listenTCP(t, nil)
	s := newSink()
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	for i := range 1000 {
		send(t, c, fmt.Appendf(nil, "20261128 10:%02d:%02d app[77]: N=%d\n", i/60%60, i%60, i))
	}
	s.await(t, "every line", func() bool { return s.n == 1000 })
	shutdown(t, l)
	wait()
	s.balance(t, l.Stats())
}
