package ingest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/secret"
	"github.com/penstock-go/penstock/internal/steadylog"
)

// TLSFiles returns a server's TLS configuration from PEM files: its certificate chain, its key, and, unless clientCA is
// empty, the authorities that sign clients' certificates. With clientCA, a client must have such a certificate. The files
// are checked for changes at every handshake, so a renewed certificate needs no restart. While they cannot be read, the
// last valid ones stay in use.
func TLSFiles(cert, key, clientCA string, log *slog.Logger) (*tls.Config, error) {
	log = steadylog.Wrap(log)
	f := &tlsFiles{cert: cert, key: key, clientCA: clientCA, log: newLimiter(log)}
	c, err := f.config(nil)
	if err != nil {
		return nil, err
	}
	// Certificates only shows, before the first handshake, until when they are valid; GetConfigForClient returns those that
	// are used.
	return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: c.Certificates, GetConfigForClient: f.config}, nil
}

// tlsFiles returns a configuration for each handshake, the same one as long as the files are unchanged.
type tlsFiles struct {
	cert, key, clientCA string
	log                 *limiter

	mu      sync.Mutex
	good    *tls.Config
	version [3]fileVersion // of the files good was made from
}

// fileVersion differs if a file has changed.
type fileVersion struct {
	modified time.Time
	size     int64
}

// config returns the configuration for the next handshake.
func (f *tlsFiles) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// The versions are read before the files: a change in between is noticed at the next handshake.
	version, err := f.look()
	if err == nil && f.good != nil && version == f.version {
		return f.good, nil
	}
	var c *tls.Config
	if err == nil {
		c, err = f.load()
	}
	switch {
	case err == nil:
		f.good, f.version = c, version
		for _, w := range secret.Exposed(f.key) {
			f.log.warn("ingest: a private key is exposed, so that others on this host can pass for this listener: do what the warning says", "warning", w)
		}
		return c, nil
	case f.good != nil:
		f.log.warn("ingest: cannot reload the TLS files; the last valid ones stay in use", "err", err)
		return f.good, nil
	}
	return nil, err
}

// look returns the versions of the files. While the files are unchanged, a handshake costs only this: three calls of
// stat(2).
func (f *tlsFiles) look() (v [3]fileVersion, err error) {
	for i, name := range []string{f.cert, f.key, f.clientCA} {
		if name == "" {
			continue
		}
		fi, err := os.Stat(name)
		if err != nil {
			return v, fmt.Errorf("ingest: TLS: %w", err)
		}
		v[i] = fileVersion{fi.ModTime(), fi.Size()}
	}
	return v, nil
}

// load fails as a whole: a certificate that was renewed before its key must not be served with the old one.
func (f *tlsFiles) load() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("ingest: TLS certificate %s with key %s: %w", f.cert, f.key, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}, SessionTicketsDisabled: true} // see withoutTickets
	if f.clientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("ingest: TLS client_ca: %w", err)
	}
	c.ClientCAs, c.ClientAuth = x509.NewCertPool(), tls.RequireAndVerifyClientCert
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ingest: TLS client_ca %s: %w", f.clientCA, errNoCert)
	}
	return c, nil
}

var errNoCert = errors.New("the file contains no certificate")
