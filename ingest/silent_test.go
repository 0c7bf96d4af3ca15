package ingest

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

// tlsConfigs are the ways in which an embedder can ask for TLS.
func tlsConfigs(t *testing.T) (server, client tls.Certificate, configs map[string]*tls.Config) {
	dir := t.TempDir()
	server, client = testserver.WriteCert(t, dir, "server"), testserver.WriteCert(t, dir, "client")
	in := func(name string) string { return filepath.Join(dir, name) }
	files, err := TLSFiles(in("server.pem"), in("server.key"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	mutual, err := TLSFiles(in("server.pem"), in("server.key"), in("client.pem"), nil)
	if err != nil {
		t.Fatal(err)
	}
	own := &tls.Config{Certificates: []tls.Certificate{server}}
	cas := x509.NewCertPool()
	cas.AddCert(client.Leaf)
	ownMutual := &tls.Config{Certificates: []tls.Certificate{server}, ClientCAs: cas, ClientAuth: tls.RequireAndVerifyClientCert}
	return server, client, map[string]*tls.Config{
		"TLSFiles": files, "TLSFiles with client_ca": mutual, "Config": own, "Config with ClientAuth": ownMutual,
		"GetConfigForClient": {GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return own, nil }},
		"GetConfigForClient without one": {
			Certificates:       own.Certificates,
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil },
		},
		"TLS 1.2": {Certificates: own.Certificates, MaxVersion: tls.VersionTLS12},
	}
}

// Most senders of logs write and never read. Unread bytes from the listener turn the close of such a sender into a reset,
// and its kernel then discards what it has not sent yet.
func TestTLSSenderNeverReads(t *testing.T) {
	server, client, configs := tlsConfigs(t)
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			l := listenTCP(t, &TCPOptions{TLS: config, Framing: OctetCounting})
			s := newSink()
			s.blocked = true
			wait := serve(t, l, s)
			c := dialSilently(t, l, clientConfig(server, client))
			send(t, c, []byte("5 first"))
			s.await(t, "a record that waits", func() bool { return s.waiting == 1 })
			const more = 200 // more than the listener's receive buffer has room for
			for range more {
				send(t, c, []byte("1000 "+strings.Repeat("x", 1000)))
			}
			c.Close()
			s.update(func() { s.blocked = false })
			awaitConns(t, l, 0)
			shutdown(t, l)
			wait()
			if st := l.Stats(); s.n != 1+more || st.Resets != 0 {
				t.Errorf("%d of %d records arrived, %d resets", s.n, 1+more, st.Resets)
			}
			s.balance(t, l.Stats())
		})
	}
}

// recordwise reads a TLS record at a time, as OpenSSL does: what follows the handshake stays in the kernel.
type recordwise struct {
	net.Conn
	left int // of the record
}

func (r *recordwise) Read(b []byte) (n int, err error) {
	const header = 5
	if r.left > 0 {
		n, err = r.Conn.Read(b[:min(len(b), r.left)])
		r.left -= n
		return n, err
	}
	if n, err = io.ReadFull(r.Conn, b[:header]); err == nil {
		r.left = int(b[3])<<8 | int(b[4])
	}
	return n, err
}

// dialSilently does the handshake, as a client that could resume its session, and reads nothing after it.
func dialSilently(t *testing.T, l *TCP, config *tls.Config) *tls.Conn {
	t.Helper()
	config.ClientSessionCache = tls.NewLRUClientSessionCache(1)
	c := tls.Client(&recordwise{Conn: dialTCP(t, l)}, config)
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.SetWriteDeadline(time.Now().Add(20 * time.Second))
	return c
}

// After the handshake a listener sends nothing, not even at its end.
func TestTLSSaysNothing(t *testing.T) {
	server, client, configs := tlsConfigs(t)
	for name, config := range configs {
		t.Run(name, func(t *testing.T) {
			l := listenTCP(t, &TCPOptions{TLS: config, Framing: Newline, Grace: 5 * time.Second})
			s := newSink()
			wait := serve(t, l, s)
			c := dialSilently(t, l, clientConfig(server, client))
			send(t, c, []byte("before\n"))
			s.await(t, "a record", func() bool { return s.n == 1 })
			ended := make(chan struct{})
			go func() { defer close(ended); shutdown(t, l) }()
			// The TLS library would consume further bytes itself, so they are counted below it.
			if b, err := io.ReadAll(c.NetConn()); len(b) > 0 || err != nil {
				t.Errorf("the listener sent %d bytes, %v", len(b), err)
			}
			send(t, c, []byte("after\n"))
			c.Close()
			<-ended
			wait()
			if got := fmt.Sprint(s.payloads()); got != "[before after]" {
				t.Errorf("kept %s", got)
			}
		})
	}
}

// A reset is counted and logged even with nothing in hand, because data that the sender's kernel still had is lost.
func TestTCPResetBetweenFrames(t *testing.T) {
	var log testserver.Log
	l := listenTCP(t, &TCPOptions{Framing: Newline, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s := newSink()
	wait := serve(t, l, s)
	c := dialTCP(t, l)
	send(t, c, []byte("one\n"))
	s.await(t, "a record", func() bool { return s.n == 1 })
	c.SetLinger(0)
	c.Close()
	awaitConns(t, l, 0)
	if st := l.Stats(); st.Resets != 1 || lostRecords(&st.Lost) != 0 {
		t.Errorf("%d resets, lost %v", st.Resets, st.Lost)
	}
	if got := log.String(); !strings.Contains(got, "connection was reset") {
		t.Errorf("logged %q", got)
	}
	shutdown(t, l)
	wait()
	s.balance(t, l.Stats())
}
