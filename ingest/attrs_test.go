package ingest

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/spool/segment"
)

// nlbTLVs are extensions that a Network Load Balancer and other proxies send besides the addresses.
var nlbTLVs = []proxyproto.TLV{
	{Type: proxyproto.PP2_TYPE_ALPN, Value: []byte("h2")},
	{Type: proxyproto.PP2_TYPE_AUTHORITY, Value: []byte("in.example.net")},
	{Type: proxyproto.PP2_TYPE_UNIQUE_ID, Value: []byte{0xab, 0, 0xff}},
	{Type: proxyproto.PP2_TYPE_MIN_CUSTOM + 10, Value: []byte("\x01vpce-08d2bf15fac5001c9")},
}

// nlbAttrs are the attributes from nlbTLVs, with that of the listener.
func nlbAttrs(t testing.TB, l Listener) *segment.Attrs {
	return attrs(t, map[string]string{
		"listener": boundTo(l), "aws.vpce": "vpce-08d2bf15fac5001c9",
		"proxy.alpn": "h2", "proxy.authority": "in.example.net", "proxy.unique_id": "ab00ff",
	})
}

// boundTo returns the attribute of a listener, as from ConnAttrs.
func boundTo(l Listener) string { return l.Addr().Network() + "://" + l.Addr().String() }

func attrs(t testing.TB, pairs map[string]string) *segment.Attrs {
	t.Helper()
	a, err := segment.NewAttrs(pairs)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// wantAttrs compares the attributes of the records, by their payloads.
func wantAttrs(t *testing.T, s *memSink, want map[string]*segment.Attrs) {
	t.Helper()
	if len(s.recs) != len(want) {
		t.Errorf("%d records, want %d", len(s.recs), len(want))
	}
	for _, r := range s.recs {
		if w, ok := want[string(r.Data)]; !ok || !r.Attrs.Equal(w) {
			t.Errorf("%q has %v, want %v", r.Data, r.Attrs, w)
		}
	}
}

// A connection over TCP has the attributes that a trusted proxy sends, and only a trusted one.
func TestAttrsTCP(t *testing.T) {
	l := listenTCP(t, &TCPOptions{Framing: Newline, ProxyFrom: loopback, Attributes: ConnAttrs})
	s := newSink()
	wait := serve(t, l, s)
	plain := attrs(t, map[string]string{"listener": boundTo(l)})
	want := map[string]*segment.Attrs{}
	for i, c := range []struct {
		header string
		want   *segment.Attrs
	}{
		{headerV2(t, net.TCPAddrFromAddrPort(client4), l.Addr(), nlbTLVs...), nlbAttrs(t, l)},
		{headerV2(t, net.TCPAddrFromAddrPort(client6), net.TCPAddrFromAddrPort(client6), nlbTLVs...), nlbAttrs(t, l)},
		{goldV4, plain},
		{goldTLV, plain}, // no VPC endpoint: "aws" is only the id's beginning
		{goldLocal, plain},
		{"PROXY TCP4 192.0.2.1 198.51.100.5 5000 514\r\n", plain},
		{sigV2 + unhex("21 11 0010 c0000201 c6336405 1388 0202 02 ffff 61"), plain}, // an extension that is cut short
	} {
		if c.header == goldTLV {
			c.want = attrs(t, map[string]string{"listener": boundTo(l), "aws.vpce": "aws"})
		}
		nc := dialTCP(t, l)
		for _, line := range []string{"one", "two"} {
			line = fmt.Sprint(line, i)
			want[line] = c.want
			c.header += line + "\n"
		}
		send(t, nc, []byte(c.header))
		nc.Close()
	}
	s.await(t, "all records", func() bool { return s.n == uint64(len(want)) })
	shutdown(t, l)
	wait()
	wantAttrs(t, s, want)
	sets := map[*segment.Attrs]int{}
	for _, r := range s.recs {
		sets[r.Attrs]++
	}
	for a, n := range sets {
		if n != 2 {
			t.Errorf("a connection's two records do not share their set %v: %d", a, n)
		}
	}
}

// The header of a sender that is not a trusted proxy gives no attributes.
func TestAttrsUntrusted(t *testing.T) {
	far := proxies{netip.MustParsePrefix("10.0.0.0/8")}
	header := headerV2(t, net.TCPAddrFromAddrPort(client4), net.TCPAddrFromAddrPort(client4), nlbTLVs...)
	tcp := listenTCP(t, &TCPOptions{Framing: Fixed(len(header)), ProxyFrom: far, Attributes: ConnAttrs})
	s := newSink()
	wait := serve(t, tcp, s)
	c := dialTCP(t, tcp)
	send(t, c, []byte(header))
	c.Close()
	s.await(t, "a record", func() bool { return s.n == 1 })
	shutdown(t, tcp)
	wait()
	wantAttrs(t, s, map[string]*segment.Attrs{header: attrs(t, map[string]string{"listener": boundTo(tcp)})})

	udp := listenUDP(t, &UDPOptions{ProxyFrom: far, Attributes: ConnAttrs})
	s = newSink()
	wait = serve(t, udp, s)
	send(t, dialUDP(t, udp), []byte(header))
	s.await(t, "a record", func() bool { return s.n == 1 })
	shutdown(t, udp)
	wait()
	wantAttrs(t, s, map[string]*segment.Attrs{header: attrs(t, map[string]string{"listener": boundTo(udp)})})
}

// The same for datagrams, each with a header of its own; by recvmmsg, in aggregates, and by the standard library.
func TestAttrsUDP(t *testing.T) {
	for _, name := range []string{"recvmmsg", "gro", "plain"} {
		t.Run(name, func(t *testing.T) {
			var calls atomic.Int32
			u := listenUDP(t, &UDPOptions{ProxyFrom: loopback, GRO: name == "gro", Attributes: func(s *Stream) map[string]string {
				calls.Add(1)
				return ConnAttrs(s)
			}})
			if name == "plain" {
				makePlain(t, u)
			}
			s := newSink()
			wait := serve(t, u, s)
			c := dialUDP(t, u)
			plain := attrs(t, map[string]string{"listener": boundTo(u)})
			want := map[string]*segment.Attrs{}
			header := headerV2(t, net.UDPAddrFromAddrPort(client4), u.Addr(), nlbTLVs...)
			header6 := headerV2(t, net.UDPAddrFromAddrPort(client6), net.UDPAddrFromAddrPort(client6), nlbTLVs...)
			before := calls.Load()
			for i := range 50 {
				for _, d := range []struct {
					header, data string
					want         *segment.Attrs
				}{
					{header, "nlb", nlbAttrs(t, u)}, {header6, "nlb6", nlbAttrs(t, u)}, {goldV4, "v4", plain}, {"", "none", plain}, {goldLocal, "local", plain},
				} {
					d.data = fmt.Sprint(d.data, i)
					want[d.data] = d.want
					send(t, c, []byte(d.header+d.data))
				}
			}
			shutdown(t, u)
			wait()
			wantAttrs(t, s, want)
			if n := calls.Load() - before; n != 1 {
				t.Errorf("%d calls for one set of extensions", n)
			}
		})
	}
}

// The subject of a certificate counts only if it was verified.
func TestAttrsTLS(t *testing.T) {
	dir := t.TempDir()
	server, client := testserver.WriteCert(t, dir, "server"), testserver.WriteCert(t, dir, "client")
	subject, sans := client.Leaf.Subject.String(), strings.Join(client.Leaf.DNSNames, ",")
	for _, ip := range client.Leaf.IPAddresses {
		sans += "," + ip.String()
	}
	sans = strings.TrimPrefix(sans, ",")
	for what, url := range map[string]string{"verified": tlsURL(dir, "client.pem"), "not asked": tlsURL(dir, "")} {
		l, err := Listen(url+"&attrs=conn", &Options{TCP: TCPOptions{Grace: -1}})
		if err != nil {
			t.Fatal(err)
		}
		s := newSink()
		wait := serve(t, l, s)
		c, err := dialTLS(l, server, client)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, []byte("hello\n"))
		c.Close()
		s.await(t, "a record", func() bool { return s.n == 1 })
		shutdown(t, l)
		wait()
		pairs := map[string]string{"listener": boundTo(l), "tls.server_name": "localhost"}
		if what == "verified" {
			pairs["tls.subject"], pairs["tls.sans"] = subject, sans
		}
		wantAttrs(t, s, map[string]*segment.Attrs{"hello": attrs(t, pairs)})
	}
	// Requested but not verified: anyone could have made it.
	state := &tls.ConnectionState{ServerName: "x"}
	state.PeerCertificates = append(state.PeerCertificates, client.Leaf)
	if got := ConnAttrs(&Stream{TLS: state}); len(got) != 1 || got["tls.server_name"] != "x" {
		t.Errorf("%v", got)
	}
}

// Whatever untrusted peers send, ConnAttrs returns a valid set.
func TestConnAttrsHostile(t *testing.T) {
	for _, value := range []string{"\x00\x1f\x7f\n", "\xff\xfe", strings.Repeat("ä", 2000), strings.Repeat("\xff", 1000), ""} {
		dir := t.TempDir()
		cert := testserver.WriteCert(t, dir, "x").Leaf
		cert.Subject.CommonName = value
		cert.DNSNames = []string{value, value}
		state := &tls.ConnectionState{ServerName: value}
		state.PeerCertificates = append(state.PeerCertificates, cert)
		state.VerifiedChains = append(state.VerifiedChains, state.PeerCertificates)
		s := &Stream{TLS: state, Proxy: &ProxyHeader{[]ProxyTLV{
			{TLVALPN, []byte(value)}, {TLVAuthority, []byte(value)}, {TLVUniqueID, []byte(value)}, {TLVAWS, []byte("\x01" + value)},
		}}, Listener: &net.UnixAddr{Name: value, Net: "unixgram"}}
		if _, err := segment.NewAttrs(ConnAttrs(s)); err != nil {
			t.Errorf("%.20q: %v", value, err)
		}
	}
}

// If the function panics or returns no valid set, the records lose their attributes, but no record is lost.
func TestAttrsBad(t *testing.T) {
	for what, f := range map[string]func(*Stream) map[string]string{
		"panicked": func(*Stream) map[string]string { panic("oops") },
		"no key":   func(*Stream) map[string]string { return map[string]string{"No Key": ""} },
	} {
		var log testserver.Log
		logger := slog.New(slog.NewTextHandler(&log, nil))
		for _, l := range []Listener{
			listenTCP(t, &TCPOptions{Framing: Newline, Attributes: f, Logger: logger}),
			listenUDP(t, &UDPOptions{Attributes: f, Logger: logger}),
		} {
			s := newSink()
			wait := serve(t, l, s)
			c, err := net.Dial(l.Addr().Network(), l.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			send(t, c, []byte("kept\n"))
			c.Close()
			s.await(t, "a record", func() bool { return s.n == 1 })
			shutdown(t, l)
			wait()
			s.balance(t, l.Stats())
			if s.recs[0].Attrs != nil || l.Stats().Panics != map[string]uint64{"panicked": 1}[what] {
				t.Errorf("%s: %v, %d panics", what, s.recs[0].Attrs, l.Stats().Panics)
			}
		}
		if n := strings.Count(log.String(), "the records have no attributes"); n != 2 {
			t.Errorf("%s: %d lines\n%s", what, n, &log)
		}
	}
}

// The memory for a proxy that gives each datagram its own id is bounded.
func TestAttrsBounded(t *testing.T) {
	d := newDatagramAttrs(ConnAttrs, Stream{}, new(meter), newLimiter(slog.New(slog.DiscardHandler)))
	header := func(i int) []byte {
		return []byte(sigV2 + unhex("21 11 0013 c0000201 c6336405 1388 0202 02 0004") + fmt.Sprintf("%04d", i))
	}
	for i := range 5000 {
		if v, _ := d.of(header(i)).Get("proxy.authority"); v != fmt.Sprintf("%04d", i) {
			t.Fatal(v)
		}
	}
	if len(d.known) > maxKnownAttrs {
		t.Errorf("%d sets are remembered", len(d.known))
	}
	h := header(1)
	d.of(h)
	if n := testing.AllocsPerRun(100, func() { d.of(h) }); n != 0 {
		t.Errorf("%v allocations for a datagram whose set is known", n)
	}
	if n := testing.AllocsPerRun(100, func() { (*datagramAttrs)(nil).of(h) }); n != 0 {
		t.Errorf("%v allocations without attributes", n)
	}
}

func TestAttrsURL(t *testing.T) {
	for _, url := range []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"} {
		for value, want := range map[string]bool{"": false, "?attrs=off": false, "?attrs=conn": true} {
			l, err := Listen(url+value, nil)
			if err != nil {
				t.Fatal(err)
			}
			var got func(*Stream) map[string]string
			switch l := l.(type) {
			case *UDP:
				got = l.o.Attributes
			case *TCP:
				got = l.o.Attributes
			}
			if l.Close(); (got != nil) != want {
				t.Errorf("%s%s: %v", url, value, got != nil)
			}
		}
		if _, err := Parse(url+"?attrs=yes", nil); err == nil || !strings.Contains(err.Error(), "attrs=yes: want conn or off") {
			t.Error(err)
		}
	}
}

// parseTLVs finds the same as the reference implementation, within the limits. If that refuses the input, parseTLVs
// returns the extensions before the error.
func FuzzProxyTLVs(f *testing.F) {
	for _, tlvs := range [][]proxyproto.TLV{nil, nlbTLVs, {{Type: 1, Value: make([]byte, maxTLVValue)}}, {{Type: 1, Value: make([]byte, maxTLVValue+1)}}} {
		b, err := proxyproto.JoinTLVs(tlvs)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte{1, 0, 9, 'x'})
	f.Add([]byte{tlvPadding, 0, 2, 'x', 'x', 1, 0, 1, 'y'})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 1<<16-1-12 {
			return
		}
		header := append([]byte(sigV2), 0x21, 0x11, byte((len(b)+12)>>8), byte(len(b)+12))
		header = append(append(header, goldV4[fixedV2:]...), b...)
		if _, size, ok := parseV2(header); !ok || size != len(header) {
			t.Fatalf("%x is no header", header)
		}
		if !bytes.Equal(extensions(header), b) {
			t.Fatalf("%x are not the extensions of %x", extensions(header), header)
		}
		got := parseTLVs(b)
		want, err := proxyproto.SplitTLVs(b)
		if err != nil && !errors.Is(err, proxyproto.ErrTruncatedTLV) && !errors.Is(err, proxyproto.ErrMalformedTLV) {
			t.Skip(err)
		}
		i := 0
		for _, w := range want {
			if len(w.Value) > maxTLVValue || w.Type == tlvPadding || i == maxTLVs {
				continue
			}
			if got == nil || i == len(got.TLVs) || got.TLVs[i].Type != byte(w.Type) || !bytes.Equal(got.TLVs[i].Value, w.Value) {
				t.Fatalf("%v, the reference %v", got, want)
			}
			i++
		}
		if err == nil && got != nil && i != len(got.TLVs) {
			t.Fatalf("%v, the reference %v", got, want)
		}
		if _, err := segment.NewAttrs(ConnAttrs(&Stream{Proxy: got})); err != nil {
			t.Fatal(err)
		}
	})
}
