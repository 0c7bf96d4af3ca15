package relp_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
)

var options = &ingest.Options{Framings: map[string]ingest.Framing{"relp": relp.Framing}}

func TestURLBad(t *testing.T) {
	for url, wants := range map[string][]string{
		"relp://:0?window=0&max=none&cert=x":  {"window=0", "max=none", `"cert" is not known`},
		"relp://:0?window=5000":               {"1 to 1024"},
		"relp://:0?framing=octet":             {`"framing" is not known`},
		"relps://:0":                          {"cert=FILE"},
		"relps://:0?cert=/nowhere&key=/there": {"/nowhere"},
		"tcp://:0?framing=xml":                {"or relp"},
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

// Sessions over TLS, for clients with the right certificate.
func TestTLS(t *testing.T) {
	dir := t.TempDir()
	pair := writeCert(t, dir)
	l, err := ingest.Listen("relps://127.0.0.1:0?cert="+dir+"/c.pem&key="+dir+"/c.key&client_ca="+dir+"/c.pem", options)
	if err != nil {
		t.Fatal(err)
	}
	s := newSink()
	serve(t, l, s)
	config := &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost"}
	config.RootCAs.AddCert(pair.Leaf)
	if stranger, err := tls.Dial("tcp", l.Addr().String(), config); err == nil { // TLS 1.3 tells with the first read
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
}

func writeCert(t *testing.T, dir string) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	certPEM := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	keyPEM := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})
	for name, b := range map[string][]byte{"c.pem": certPEM, "c.key": keyPEM} {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		t.Fatal(err)
	}
	pair.Leaf, err = x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return pair
}
