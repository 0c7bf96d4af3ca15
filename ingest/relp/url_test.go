package relp_test

import (
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/internal/test/testserver"
)

var options = &ingest.Options{Framings: map[string]ingest.Framing{"relp": relp.Framing}}

func TestURLBad(t *testing.T) {
	for url, wants := range map[string][]string{
		"relp://:0?window=0&max=none&cert=x":  {"window=0", "max=none", `"cert" is not known`},
		"relp://:0?window=5000":               {"1 to 1024"},
		"relp://:0?framing=octet":             {`"framing" is not known`},
		"relps://:0":                          {"cert=FILE"},
		"relps://:0?cert=/nowhere&key=/there": {"/nowhere"},
		"tcp://:0?framing=xml":                {"octet, relp"},
		"tcp://:0?framing=octet&window=5":     {`"window" is not known`},
		"relpx://:0":                          {"relp, relps"},
	} {
		_, err := ingest.Parse(url, options)
		for _, want := range wants {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q in it", url, err, want)
			}
		}
	}
	if _, err := ingest.Parse("relp://:0", nil); err == nil || !strings.Contains(err.Error(), "Options.Framings") {
		t.Errorf("without the framing: %v", err)
	}
	for _, url := range []string{"relp://:0?window=5&max=64KiB", "tcp://:0?framing=relp&window=5", "relp://:0?proxy=on&trust=10.0.0.0/8"} {
		if _, err := ingest.Parse(url, options); err != nil {
			t.Errorf("%s: %v", url, err)
		}
	}
}

// Sessions over TLS, for clients with a valid certificate, in both versions of TLS: the listener sends its answers, and
// nothing else.
func TestTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) { testTLS(t, version) })
	}
}

func testTLS(t *testing.T, version uint16) {
	dir := t.TempDir()
	pair := testserver.WriteCert(t, dir, "c")
	l, err := ingest.Listen("relps://127.0.0.1:0?cert="+dir+"/c.pem&key="+dir+"/c.key&client_ca="+dir+"/c.pem", options)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	serve(t, l, s)
	config := &tls.Config{
		RootCAs: x509.NewCertPool(), ServerName: "localhost", MaxVersion: version,
		ClientSessionCache: tls.NewLRUClientSessionCache(1),
	}
	config.RootCAs.AddCert(pair.Leaf)
	if stranger, err := tls.Dial("tcp", l.Addr().String(), config); err == nil { // TLS 1.3 reports it at the first read
		if _, err := stranger.Read(make([]byte, 1)); err == nil {
			t.Error("a client without a certificate got in")
		}
		stranger.Close()
	}
	config.Certificates = []tls.Certificate{pair}
	conn, err := tls.Dial("tcp", l.Addr().String(), config)
	if err != nil {
		t.Fatal(err)
	}
	c := talk(t, conn).open()
	for _, message := range []string{"one", strings.Repeat("two", 100_000)} {
		c.send(c.frame("syslog", message))
	}
	c.want("2 rsp 200 OK", "3 rsp 200 OK")
	ended := make(chan struct{})
	go func() { defer close(ended); shutdown(t, l) }()
	c.want("0 serverclose ", "EOF")
	conn.Close()
	<-ended
	s.balance(t, l.Stats())
	if n := l.Stats().Resets; n != 0 {
		t.Errorf("%d resets", n)
	}
}
