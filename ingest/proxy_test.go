package ingest

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"math"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/pires/go-proxyproto"

	"github.com/penstock-go/penstock/spool/segment"
)

// loopback are the proxies of these tests.
var loopback = proxies{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}

// headerV2 makes a header of version 2 by the reference implementation.
func headerV2(t testing.TB, client, server net.Addr, tlvs ...proxyproto.TLV) string {
	t.Helper()
	h := proxyproto.HeaderProxyFromAddrs(2, client, server)
	if err := h.SetTLVs(tlvs); err != nil {
		t.Fatal(err)
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// By default the reference implementation accepts at most 4 KiB.
func init() { proxyproto.MaxV2HeaderSize = math.MaxUint16 }

func unhex(s string) string {
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		panic(err)
	}
	return string(b)
}

// Headers as bytes, written by hand from the specification, so that the tests do not depend on one implementation.
var (
	goldV4 = sigV2 + unhex("21 12 000c c0000201 c6336405 1388 0202")
	goldV6 = sigV2 + unhex("21 22 0024 20010db8000000000000000000000007 20010db8000000000000000000000001 ea60 0202")
	// goldTLV has an extension after the addresses, as Network Load Balancers send (PP2_TYPE_AWS).
	goldTLV   = sigV2 + unhex("21 11 0013 c0000201 c6336405 1388 0202 ea 0004 01617773")
	goldLocal = sigV2 + unhex("20 00 0000")
	goldUnix  = sigV2 + unhex("21 32 00d8") + strings.Repeat("\x00", 216)

	client4 = netip.MustParseAddrPort("192.0.2.1:5000")
	client6 = netip.MustParseAddrPort("[2001:db8::7]:60000")
)

// Every datagram of a trusted proxy becomes a record of its client, without the header; one without a header stays
// unchanged, and so do datagrams of other senders.
func TestProxyUDP(t *testing.T) {
	src := netip.MustParseAddrPort("127.0.0.1:9")
	for name, c := range map[string]struct {
		datagram, want string
		from           netip.AddrPort
		verdict        verdict
	}{
		"v4":              {goldV4 + "hello", "hello", client4, goodHeader},
		"v6":              {goldV6 + "hello", "hello", client6, goodHeader},
		"extension":       {goldTLV + "hello", "hello", client4, goodHeader},
		"empty":           {goldV4, "", client4, goodHeader},
		"twice":           {goldV4 + goldV6, goldV6, client4, goodHeader},
		"local":           {goldLocal + "hello", "hello", src, goodHeader},
		"unix":            {goldUnix + "hello", "hello", src, goodHeader},
		"mapped":          {sigV2 + unhex("21 22 0024 00000000000000000000ffffc0000201 00000000000000000000ffffc6336405 1388 0202"), "", client4, goodHeader},
		"none":            {"hello", "hello", src, badHeader},
		"nothing":         {"", "", src, badHeader},
		"cut":             {goldV4[:len(goldV4)-1], goldV4[:len(goldV4)-1], src, badHeader},
		"version 1":       {"PROXY UNKNOWN\r\nhello", "PROXY UNKNOWN\r\nhello", src, badHeader},
		"version 3":       {sigV2 + unhex("31 00 0000"), sigV2 + unhex("31 00 0000"), src, badHeader},
		"too short":       {sigV2 + unhex("21 12 000b c0000201 c6336405 1388 02"), sigV2 + unhex("21 12 000b c0000201 c6336405 1388 02"), src, badHeader},
		"unknown family":  {sigV2 + unhex("21 42 0000"), sigV2 + unhex("21 42 0000"), src, badHeader},
		"unspecified":     {sigV2 + unhex("21 00 0000"), sigV2 + unhex("21 00 0000"), src, badHeader},
		"unknown command": {sigV2 + unhex("22 12 000c c0000201 c6336405 1388 0202"), sigV2 + unhex("22 12 000c c0000201 c6336405 1388 0202"), src, badHeader},
	} {
		data, from, v := loopback.strip([]byte(c.datagram), src)
		if string(data) != c.want || from != c.from || v != c.verdict {
			t.Errorf("%s: %q from %v (%d), want %q from %v (%d)", name, data, from, v, c.want, c.from, c.verdict)
		}
		stranger := netip.MustParseAddrPort("198.51.100.9:9")
		want := noHeader
		if strings.HasPrefix(c.datagram, sigV2) {
			want = foreignHeader
		}
		if data, from, v := loopback.strip([]byte(c.datagram), stranger); string(data) != c.datagram || from != stranger || v != want {
			t.Errorf("%s from a stranger: %q from %v (%d)", name, data, from, v)
		}
	}
}

// The same through a socket, with the limit on payloads, the counts, and the balance; by recvmmsg, in aggregates, and by
// the standard library.
func TestProxyUDPListener(t *testing.T) {
	for name, o := range map[string]UDPOptions{
		"recvmmsg": {MaxRecord: 100}, "gro": {MaxRecord: 100, GRO: true}, "plain": {MaxRecord: 100}, "not trusted": {MaxRecord: 1000},
	} {
		t.Run(name, func(t *testing.T) {
			o.ProxyFrom = loopback
			if name == "not trusted" {
				o.ProxyFrom = proxies{netip.MustParsePrefix("10.0.0.0/8")}
			}
			u := listenUDP(t, &o)
			if name == "plain" {
				makePlain(t, u)
			}
			s := newSink()
			wait := serve(t, u, s)
			c := dialUDP(t, u)
			self := c.LocalAddr().(*net.UDPAddr).AddrPort()
			long := strings.Repeat("x", 101)
			certified := sigV2 + unhex("21 12 2000") + goldV4[fixedV2:] + strings.Repeat("c", 0x2000-12)
			for _, d := range []string{goldV4 + "one", goldTLV + long[1:], "two", goldV6, goldV4 + long, certified + "three"} {
				send(t, c, []byte(d))
			}
			shutdown(t, u)
			wait()
			st := u.Stats()
			s.balance(t, st)
			var got []string
			for _, r := range s.recs {
				got = append(got, string(r.Data)+" "+r.Src.String())
			}
			want := []string{"one " + client4.String(), long[1:] + " " + client4.String(), "two " + self.String(), " " + client6.String(), "three " + client4.String()}
			lost, bad, ignored := uint64(1), uint64(1), uint64(0)
			if name == "not trusted" {
				want = nil
				for _, d := range []string{goldV4 + "one", goldTLV + long[1:], "two", goldV6, goldV4 + long} {
					want = append(want, d+" "+self.String())
				}
				lost, bad, ignored = 1, 0, 5 // the last one exceeds MaxRecord with its header
			}
			if !slices.Equal(got, want) {
				t.Errorf("kept %q, want %q", got, want)
			}
			if st.Lost[segment.Truncated].Records != lost || st.ProxyMalformed != bad || st.ProxyIgnored != ignored {
				t.Errorf("truncated %+v, malformed %d, ignored %d", st.Lost[segment.Truncated], st.ProxyMalformed, st.ProxyIgnored)
			}
		})
	}
}

// reference is what the reference implementation finds in a header.
func reference(b []byte) (client netip.AddrPort, err error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(b), len(b)))
	if err != nil {
		return client, err
	}
	ip, _, isIP := h.IPs()
	port, _, _ := h.Ports()
	if a, ok := netip.AddrFromSlice(ip); ok && isIP && !h.Command.IsLocal() {
		client = netip.AddrPortFrom(a.Unmap(), uint16(port))
	}
	return client, nil
}

// parseV2 accepts the same headers as the reference implementation, with the same results.
func FuzzProxyDatagram(f *testing.F) {
	for _, s := range []string{goldV4, goldV6, goldTLV, goldLocal, goldUnix, "", sigV2, goldV4[:20]} {
		f.Add([]byte(s + "x"))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		client, size, ok := parseV2(b)
		h, rest, err := proxyproto.ParseUDPDatagram(b)
		if v2 := err == nil && h.Version == 2; v2 != ok {
			t.Fatalf("%q: %v, the reference %v", b, ok, err)
		}
		if !ok {
			return
		}
		if !bytes.Equal(b[size:], rest) {
			t.Fatalf("%q: payload %q, the reference %q", b, b[size:], rest)
		}
		want, err := reference(b[:size])
		if err != nil || want != client {
			t.Fatalf("%q: client %v, the reference %v (%v)", b, client, want, err)
		}
	})
}

func BenchmarkProxyStrip(b *testing.B) {
	data := []byte(goldTLV + strings.Repeat("x", 512))
	src := netip.MustParseAddrPort("127.0.0.1:9")
	b.ReportAllocs()
	for b.Loop() {
		if _, _, v := loopback.strip(data, src); v != goodHeader {
			b.Fatal(v)
		}
	}
}

func TestProxyStripAllocs(t *testing.T) {
	data := []byte(goldTLV + strings.Repeat("x", 512))
	src := netip.MustParseAddrPort("127.0.0.1:9")
	if n := testing.AllocsPerRun(1000, func() { loopback.strip(data, src) }); n != 0 {
		t.Errorf("%v allocations per datagram", n)
	}
}
