package ingest

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/test/testserver"
)

func tlsURL(dir, clientCA string) string {
	q := url.Values{"cert": {filepath.Join(dir, "server.pem")}, "key": {filepath.Join(dir, "server.key")}, "framing": {"newline"}}
	if clientCA != "" {
		q.Set("client_ca", filepath.Join(dir, clientCA))
	}
	return "tls://127.0.0.1:0?" + q.Encode()
}

func dialTLS(l Listener, server tls.Certificate, client ...tls.Certificate) (*tls.Conn, error) {
	return tls.Dial("tcp", l.Addr().String(), clientConfig(server, client...))
}

func clientConfig(server tls.Certificate, client ...tls.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(server.Leaf)
	return &tls.Config{RootCAs: roots, ServerName: "localhost", Certificates: client}
}

// Records over TLS, with a certificate that is renewed, damaged and repaired while the listener runs.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	first := testserver.WriteCert(t, dir, "server")
	l, err := Listen(tlsURL(dir, ""), &Options{TCP: TCPOptions{Grace: -1}})
	if err != nil {
		t.Fatal(err)
	}
	ends := func(c tls.Certificate) {
		t.Helper()
		if got := l.Stats().TLSExpires; !got.Equal(c.Leaf.NotAfter) {
			t.Errorf("Stats: the certificate ends at %v, not at %v", got, c.Leaf.NotAfter)
		}
	}
	ends(first)
	s := newSink()
	wait := serve(t, l, s)
	say := func(server tls.Certificate, line string) {
		t.Helper()
		c, err := dialTLS(l, server)
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, []byte(line))
		c.Close()
	}
	say(first, "one\n")
	second := testserver.WriteCert(t, dir, "server")
	if _, err := dialTLS(l, first); err == nil {
		t.Error("the old certificate is still served")
	}
	say(second, "two\nunterminated")
	ends(second)
	if err := os.WriteFile(filepath.Join(dir, "server.key"), []byte("half a fi"), 0o600); err != nil {
		t.Fatal(err)
	}
	say(second, "three\n")
	if err := os.Remove(filepath.Join(dir, "server.pem")); err != nil {
		t.Fatal(err)
	}
	say(second, "four\n")
	s.await(t, "5 records", func() bool { return s.n == 5 })
	shutdown(t, l)
	wait()
	if got := strings.Join(s.payloads(), " "); !strings.Contains(got, "unterminated") || !strings.Contains(got, "four") {
		t.Errorf("kept %s", got)
	}
	s.balance(t, l.Stats())
}

// With client_ca, only clients whose certificate it signed get in.
func TestTLSMutual(t *testing.T) {
	dir := t.TempDir()
	server, good, bad := testserver.WriteCert(t, dir, "server"), testserver.WriteCert(t, dir, "good"), testserver.WriteCert(t, dir, "bad")
	l, err := Listen(tlsURL(dir, "good.pem"), &Options{TCP: TCPOptions{Grace: -1}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	wait := serve(t, l, s)
	for _, client := range [][]tls.Certificate{nil, {bad}} {
		c, err := dialTLS(l, server, client...)
		if err == nil { // TLS 1.3 tells with the first read
			c.Write([]byte("let me in\n"))
			_, err = c.Read(make([]byte, 1))
			c.Close()
		}
		if err == nil || err == io.EOF {
			t.Errorf("a client with %d foreign certificates got in", len(client))
		}
	}
	c, err := dialTLS(l, server, good)
	if err != nil {
		t.Fatal(err)
	}
	send(t, c, []byte("hello\n"))
	c.Close()
	s.await(t, "a record", func() bool { return s.n == 1 })
	shutdown(t, l)
	wait()
	if got := s.payloads(); len(got) != 1 || got[0] != "hello" {
		t.Errorf("kept %q", got)
	}
}

// Peers that do not speak TLS, or not soon, are closed; Shutdown does not wait for them.
func TestTLSBadPeers(t *testing.T) {
	dir := t.TempDir()
	testserver.WriteCert(t, dir, "server")
	l, err := Listen(tlsURL(dir, ""), &Options{TCP: TCPOptions{HandshakeTimeout: 50 * time.Millisecond, Grace: -1}})
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	wait := serve(t, l, s)
	for _, greeting := range []string{"", "<13>plain syslog\n", "\x16\x03\x01\xff\xff"} {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, []byte(greeting))
		io.Copy(io.Discard, c) // until closed
		c.Close()
	}
	shutdown(t, l)
	wait()
	if st := l.Stats(); s.n != 0 || st.Received.Records != 0 {
		t.Errorf("%d records, %+v", s.n, st)
	}
}

func TestTLSFilesBad(t *testing.T) {
	dir := t.TempDir()
	testserver.WriteCert(t, dir, "server")
	testserver.WriteCert(t, dir, "other")
	os.WriteFile(filepath.Join(dir, "empty"), nil, 0o600)
	in := func(name string) string { return filepath.Join(dir, name) }
	for _, bad := range [][3]string{
		{in("server.pem"), in("other.key"), ""},
		{in("none.pem"), in("server.key"), ""},
		{in("server.pem"), in("server.key"), in("empty")},
		{in("server.pem"), in("server.key"), in("none.pem")},
	} {
		if _, err := TLSFiles(bad[0], bad[1], bad[2], nil); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
	if _, err := Parse("tls://:0", nil); err == nil || !strings.Contains(err.Error(), "cert=FILE") {
		t.Errorf("%v", err)
	}
}
