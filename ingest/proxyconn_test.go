package ingest

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pires/go-proxyproto"

	"github.com/penstock-go/penstock/internal/memnet"
	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/spool/segment"
)

// After a header of any kind, in one piece or byte by byte, a connection's records have the client's address.
func TestProxyTCP(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline, ProxyFrom: loopback})
	s := newSink()
	wait := serve(t, l, s)
	long := func(size int) string { // a proxy that passes on the client's certificate
		empty := len(headerV2(t, net.TCPAddrFromAddrPort(client4), l.Addr(), proxyproto.TLV{Type: proxyproto.PP2_TYPE_SSL}))
		h := headerV2(t, net.TCPAddrFromAddrPort(client4), l.Addr(), proxyproto.TLV{Type: proxyproto.PP2_TYPE_SSL, Value: make([]byte, size-empty)})
		if len(h) != size {
			t.Fatalf("%d bytes", len(h))
		}
		return h
	}
	var want []string
	for i, h := range []struct {
		header string
		from   netip.AddrPort // zero: the connection's own
	}{
		{"PROXY TCP4 192.0.2.1 198.51.100.5 5000 514\r\n", client4},
		{"PROXY TCP6 2001:db8::7 2001:db8::1 60000 514\r\n", client6},
		{"PROXY UNKNOWN\r\n", netip.AddrPort{}},
		{"PROXY UNKNOWN ff:: ff:: 1 2\r\n", netip.AddrPort{}},
		{goldTLV, client4},
		{goldV6, client6},
		{goldLocal, netip.AddrPort{}},
		{headerV2(t, net.TCPAddrFromAddrPort(client4), l.Addr(), proxyproto.TLV{Type: proxyproto.PP2_TYPE_NOOP, Value: make([]byte, 4000)}), client4},
		{long(4177), client4},
		{long(usualV2), client4},
		{long(usualV2 + 1), client4},
		{long(maxV2), client4},
	} {
		for _, whole := range []bool{true, false} {
			c := dialTCP(t, l)
			// A header that the client itself has sent, after the proxy's, is data.
			line := fmt.Sprintf("PROXY record %d %v", i, whole)
			stream := []byte(h.header + line + "\n")
			for len(stream) > 0 {
				n := len(stream)
				if !whole {
					n = 1 + n/100
				}
				send(t, c, stream[:n])
				stream = stream[n:]
			}
			from := h.from
			if !from.IsValid() {
				from = c.LocalAddr().(*net.TCPAddr).AddrPort()
			}
			want = append(want, line+" "+from.String())
		}
	}
	s.await(t, "all records", func() bool { return s.n == uint64(len(want)) })
	shutdown(t, l)
	wait()
	var got []string
	for _, r := range s.recs {
		got = append(got, string(r.Data)+" "+r.Src.String())
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("kept\n%q, want\n%q", got, want)
	}
	s.balance(t, l.Stats())
	if free := l.memory.free; free != l.o.MemoryBytes {
		t.Errorf("long headers keep %d bytes of the listener's memory", l.o.MemoryBytes-free)
	}
}

// TestProxyTCPMemory: incomplete long headers use no more memory than the listener may use; the others wait.
func TestProxyTCPMemory(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline, ProxyFrom: loopback, MaxRecord: 1000, MemoryBytes: 3*maxV2 - 1})
	s := newSink()
	wait := serve(t, l, s)
	half := sigV2 + unhex("21 11 ffff")
	var held []*net.TCPConn
	for range 5 {
		c := dialTCP(t, l)
		send(t, c, []byte(half))
		held = append(held, c)
	}
	rest := "\xc0\x00\x02\x01\xc6\x33\x64\x05\x13\x88\x02\x02" + strings.Repeat("\x00", 0xffff-12) + "hello\n"
	for _, c := range held {
		send(t, c, []byte(rest))
	}
	s.await(t, "all records", func() bool { return s.n == 5 })
	shutdown(t, l)
	wait()
	s.balance(t, l.Stats())
	for _, r := range s.recs {
		if r.Src != client4 {
			t.Errorf("from %v", r.Src)
		}
	}
}

// A connection of a trusted proxy without a header is refused and counted, unless it sends nothing, as in a health check.
func TestProxyTCPBad(t *testing.T) {
	for name, stream := range map[string]string{
		"none":            "<13>hello\n",
		"half":            "PROXY TCP4 192.0.2.1",
		"one byte":        "P",
		"no CR":           "PROXY UNKNOWN\n",
		"long":            "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n",
		"bad address":     "PROXY TCP4 192.0.2 198.51.100.5 5000 514\r\n",
		"bad port":        "PROXY TCP4 192.0.2.1 198.51.100.5 5000 99999\r\n",
		"half signature":  sigV2[:5],
		"half of v2":      goldV6[:30],
		"wrong signature": sigV2[:11] + "x",
		"huge":            sigV2 + unhex("21 11 ffff"),
		"version 3":       sigV2 + unhex("31 11 0000"),
		"unspecified":     sigV2 + unhex("21 00 0000") + "hello\n",
	} {
		t.Run(name, func(t *testing.T) {
			l := listenTCP(t, &TCPOptions{ProxyFrom: loopback})
			s := newSink()
			wait := serve(t, l, s)
			c := dialTCP(t, l)
			send(t, c, []byte(stream))
			c.CloseWrite()
			if n, err := io.Copy(io.Discard, c); n > 0 {
				t.Errorf("an answer: %d bytes, %v", n, err)
			}
			look := dialTCP(t, l)
			look.CloseWrite()
			io.Copy(io.Discard, look)
			shutdown(t, l)
			wait()
			st := l.Stats()
			s.balance(t, st)
			if got, want := st.Lost[segment.Malformed], (segment.Loss{Records: 1, Bytes: uint64(len(stream))}); got != want || s.n > 0 {
				t.Errorf("lost %+v, want %+v; kept %q", got, want, s.payloads())
			}
			if st.ProxyMalformed != 1 {
				t.Errorf("%d counted", st.ProxyMalformed)
			}
		})
	}
}

// A connection of a proxy that does not send its header in time is closed.
func TestProxyTCPSlow(t *testing.T) {
	l := listenTCP(t, &TCPOptions{ProxyFrom: loopback, HandshakeTimeout: 30 * time.Millisecond})
	s := newSink()
	wait := serve(t, l, s)
	io.Copy(io.Discard, dialTCP(t, l)) // returns when the listener has closed it
	conns := uint64(1)
	for begin := time.Now(); l.Stats().Lost[segment.Malformed].Records == 0; conns++ { // a busy machine may send only after the time-out
		c := dialTCP(t, l)
		_, _ = c.Write([]byte("PROXY "))
		io.Copy(io.Discard, c)
		awaitConns(t, l, 0) // then it is counted
		if time.Since(begin) > time.Minute {
			t.Fatal("no header was begun in time")
		}
	}
	shutdown(t, l)
	wait()
	if st := l.Stats(); st.ProxyMalformed != conns || st.Lost[segment.Malformed] != (segment.Loss{Records: 1, Bytes: 6}) {
		t.Errorf("%+v", st)
	}
	s.balance(t, l.Stats())
}

// A header from an untrusted source is data, whatever it contains, and nothing is lost because of it.
func TestProxyTCPNotTrusted(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline, ProxyFrom: proxies{netip.MustParsePrefix("10.0.0.0/8")}})
	s := newSink()
	wait := serve(t, l, s)
	const header = "PROXY TCP4 192.0.2.1 198.51.100.5 5000 514"
	for _, stream := range []string{header + "\r\nhello\n", "hello\n"} {
		c := dialTCP(t, l)
		send(t, c, []byte(stream))
		c.Close()
	}
	s.await(t, "3 records", func() bool { return s.n == 3 })
	shutdown(t, l)
	wait()
	got := s.payloads()
	slices.Sort(got)
	if !slices.Equal(got, []string{header, "hello", "hello"}) {
		t.Errorf("kept %q", got)
	}
	for _, r := range s.recs {
		if !r.Src.Addr().IsLoopback() {
			t.Errorf("from %v", r.Src)
		}
	}
	if n := l.Stats().ProxyIgnored; n != 1 {
		t.Errorf("%d headers counted", n)
	}
	s.balance(t, l.Stats())
}

// The limit per source is the client's, not the proxy's. A connection over it is refused as one without a proxy is: what follows the
// header is lost, unless its sender repeats it, and the log names the limit.
func TestProxyTCPLimit(t *testing.T) {
	for name, framing := range map[string]Framing{"plain": Newline, "acknowledged": func(*Stream) Framer { return &acked{} }} {
		t.Run(name, func(t *testing.T) {
			var log testserver.Log
			l := listenTCP(t, &TCPOptions{
				Framing: framing, ProxyFrom: loopback, MaxConnsPerSource: 1, Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			s := durableSink{newSink()}
			wait := serve(t, l, s)
			open := func(stream string) *net.TCPConn {
				c := dialTCP(t, l)
				send(t, c, []byte(stream))
				return c
			}
			one := open(goldV4 + "one\n")
			s.await(t, "a record", func() bool { return s.n == 1 })
			two := open(goldV6 + "two\n")
			s.await(t, "two records", func() bool { return s.n == 2 })
			io.Copy(io.Discard, open(goldV4+"one too many\n"))
			io.Copy(io.Discard, open(goldV4)) // nothing is lost
			awaitConns(t, l, 2)               // a peer that is refused is cut off before that is logged
			st := l.Stats()
			want := segment.Loss{Records: 1, Bytes: 13, AtLeast: true}
			if name == "acknowledged" {
				want = segment.Loss{}
			}
			if st.Refused != 2 || st.ProxyMalformed != 0 || st.Lost[segment.Refused] != want || lostRecords(&st.Lost) != want.Records {
				t.Errorf("%+v", st)
			}
			if got := log.String(); !strings.Contains(got, "err names the limit") || strings.Contains(got, "trust") {
				t.Errorf("logged %s", got)
			}
			one.Close()
			awaitConns(t, l, 1)
			three := open(goldV4 + "three\n")
			s.await(t, "three records", func() bool { return s.n == 3 })
			two.Close()
			three.Close()
			shutdown(t, l)
			wait()
			s.balance(t, l.Stats())
		})
	}
}

// The header comes before the handshake of TLS.
func TestProxyTLS(t *testing.T) {
	dir := t.TempDir()
	cert := testserver.WriteCert(t, dir, "server")
	l, err := Listen(strings.Replace(tlsURL(dir, ""), "?", "?proxy=on&trust=127.0.0.1&", 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	wait := serve(t, l, s)
	raw := dialTCP(t, l.(*TCP))
	send(t, raw, []byte(goldV4))
	c := tls.Client(raw, clientConfig(cert))
	if _, err := c.Write([]byte("hello\n")); err != nil {
		t.Fatal(err)
	}
	s.await(t, "a record", func() bool { return s.n == 1 })
	c.Close()
	shutdown(t, l)
	wait()
	if r := s.recs[0]; string(r.Data) != "hello" || r.Src != client4 {
		t.Errorf("%q from %v", r.Data, r.Src)
	}
}

// Everything that a proxy had sent before a Shutdown is read, including the header, even without Grace.
func TestProxyTCPShutdown(t *testing.T) {
	for range 20 {
		l := listenTCP(t, &TCPOptions{Framing: Newline, ProxyFrom: loopback, Grace: -1})
		s := newSink()
		wait := serve(t, l, s)
		c := dialTCP(t, l)
		send(t, c, []byte(goldV4+"hello\n"))
		shutdown(t, l)
		wait()
		if got := s.payloads(); len(got) != 1 || got[0] != "hello" {
			t.Fatalf("kept %q", got)
		}
		s.balance(t, l.Stats())
	}
}

// However a stream is cut into reads, its header is found where the reference implementation finds it, or refused.
func FuzzProxyStream(f *testing.F) {
	for _, s := range []string{goldV4, goldV6, goldTLV, goldLocal, goldUnix, "PROXY UNKNOWN\r\n", "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n", ""} {
		f.Add([]byte(s + "rest"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bufio.NewReaderSize(bytes.NewReader(b), len(b))
		_, want := proxyproto.Read(r)
		consumed := len(b) - r.Buffered()
		var size int
		var err error
		for n := 0; n <= len(b) && size == 0 && err == nil; n++ {
			size, err = headerSize(b[:n])
		}
		if whole, werr := headerSize(b); whole != size || (werr == nil) != (err == nil) {
			t.Fatalf("%q: %d, %v byte by byte; %d, %v as a whole", b, size, err, whole, werr)
		}
		if err == nil && size > 0 && size <= len(b) {
			_, err = parseHeader(b[:size])
		} else if err == nil {
			err = io.ErrUnexpectedEOF
		}
		if (err == nil) != (want == nil) {
			t.Fatalf("%q: %v, the reference %v", b, err, want)
		}
		if err == nil && size != consumed {
			t.Fatalf("%q: header of %d bytes, the reference %d", b, size, consumed)
		}
	})
}

// A long header waits for memory as a large frame does, however long a stalled sink keeps the memory in use.
func TestProxyTCPMemoryOfStalledSink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, err := ListenTCP("mem:header", &TCPOptions{
			Framing: Newline, ProxyFrom: proxies{netip.MustParsePrefix("10.0.0.0/8")}, MaxRecord: 1000, MemoryBytes: maxV2,
		})
		if err != nil {
			t.Fatal(err)
		}
		s := newSink()
		wait := serve(t, l, s)
		if err := l.memory.acquire(t.Context(), maxV2); err != nil { // as for a connection that waits for the sink
			t.Fatal(err)
		}
		c, err := memnet.Dial("mem:header")
		if err != nil {
			t.Fatal(err)
		}
		go io.WriteString(c, sigV2+unhex("21 11 ffff c0000201 c6336405 1388 0202")+strings.Repeat("\x00", 0xffff-12)+"hello\n")
		time.Sleep(time.Hour)
		l.memory.release(maxV2)
		synctest.Wait()
		if got := s.payloads(); len(got) != 1 || got[0] != "hello" || l.Stats().ProxyMalformed > 0 {
			t.Errorf("kept %q, %+v", got, l.Stats().Lost)
		}
		c.Close()
		l.Close()
		wait()
	})
}
