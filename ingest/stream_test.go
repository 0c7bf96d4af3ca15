package ingest

import (
	"io"
	"net"
	"net/netip"
	"testing"
)

// streams is a framing that passes on the Streams it is called with.
func streams() (Framing, <-chan *Stream) {
	c := make(chan *Stream, 4)
	return func(s *Stream) Framer { c <- s; return Newline(s) }, c
}

// A framing learns about its connection: both addresses, the listener's, the limit, and the TLS state if there is one.
func TestStream(t *testing.T) {
	framing, made := streams()
	l := listenTCP(t, &TCPOptions{Framing: framing, MaxRecord: 321})
	if s := <-made; *s != (Stream{MaxRecord: 321}) {
		t.Errorf("asked whether it acknowledges with %+v, want the limit alone", s)
	}
	serve(t, l, newSink())
	c := dialTCP(t, l)
	s := <-made
	want := Stream{MaxRecord: 321, Peer: addrPort(c.LocalAddr()), Local: addrPort(c.RemoteAddr()), Listener: l.Addr()}
	if s.Peer != want.Peer || s.Local != want.Local || s.MaxRecord != want.MaxRecord ||
		s.Listener.String() != l.Addr().String() || s.TLS != nil {
		t.Errorf("%+v, want %+v", s, want)
	}
	c.Close()
}

func TestStreamTLS(t *testing.T) {
	server, client, configs := tlsConfigs(t)
	framing, made := streams()
	l := listenTCP(t, &TCPOptions{Framing: framing, TLS: configs["TLSFiles with client_ca"]})
	<-made
	serve(t, l, newSink())
	c, err := dialTLS(l, server, client)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if s := <-made; s.TLS == nil || s.TLS.ServerName != "localhost" || len(s.TLS.PeerCertificates) != 1 {
		t.Errorf("TLS state %+v, want that of the handshake", s.TLS)
	}
}

// Behind a trusted proxy the peer is the proxy's client.
func TestStreamProxied(t *testing.T) {
	framing, made := streams()
	l := listenTCP(t, &TCPOptions{Framing: framing, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	<-made
	serve(t, l, newSink())
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	io.WriteString(c, "PROXY TCP4 203.0.113.7 192.0.2.1 4711 514\r\n")
	if s := <-made; s.Peer != netip.MustParseAddrPort("203.0.113.7:4711") || s.Local != addrPort(c.RemoteAddr()) {
		t.Errorf("peer %v, local %v; want the client's address, and this side's of the proxy's connection", s.Peer, s.Local)
	}
}
