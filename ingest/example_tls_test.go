package ingest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/penstock-go/penstock/ingest"
)

// A listener for TLS. When a renewed certificate replaces the files, the next connection gets it. Listen makes the same from the URL
// tls://:6514?cert=server.pem&key=server.key.
func ExampleTLSFiles() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cert, key := filepath.Join(dir, "server.pem"), filepath.Join(dir, "server.key")
	authorities := writeCertificate(cert, key)

	config, err := ingest.TLSFiles(cert, key, "", nil) // "": clients need no certificate
	if err != nil {
		log.Fatal(err)
	}
	l, err := ingest.ListenTCP("127.0.0.1:0", &ingest.TCPOptions{Framing: ingest.Newline, TLS: config})
	if err != nil {
		log.Fatal(err)
	}
	sink := printer{got: make(chan struct{}, 1)}
	served := make(chan error, 1)
	go func() { served <- l.Serve(sink) }()

	c, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: authorities, ServerName: "example.com"})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Fprintln(c, "a line that nobody on the way can read")
	c.Close()
	<-sink.got

	if err := l.Shutdown(context.Background()); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-served)
	// Output:
	// a line that nobody on the way can read
	// ingest: listener closed
}

// writeCertificate writes a certificate for example.com and its key, and returns what a client needs to trust it.
func writeCertificate(cert, key string) *x509.CertPool {
	s := httptest.NewTLSServer(nil) // only for the certificate that the standard library tests with
	defer s.Close()
	pair := s.TLS.Certificates[0]
	private, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		log.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: pair.Certificate[0]}, key: {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			log.Fatal(err)
		}
	}
	authorities := x509.NewCertPool()
	authorities.AddCert(s.Certificate())
	return authorities
}
