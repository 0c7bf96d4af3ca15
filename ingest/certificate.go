package ingest

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"
)

// certificate knows until when the certificate of a listener is valid. The functions of a tls.Config may return a different
// certificate at each handshake, so it is checked at each.
type certificate struct {
	end atomic.Int64 // in Unix seconds, 0 unknown
}

// watch makes a configuration report its certificates. The configuration must belong to this listener alone.
func (e *certificate) watch(c *tls.Config) {
	if c == nil {
		return
	}
	e.note(c.Certificates)
	if forClient := c.GetConfigForClient; forClient != nil {
		c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			got, err := forClient(hello)
			if got != nil {
				e.note(got.Certificates)
			}
			return got, err
		}
	}
	if get := c.GetCertificate; get != nil {
		c.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			got, err := get(hello)
			if got != nil {
				e.note([]tls.Certificate{*got})
			}
			return got, err
		}
	}
}

// note remembers when the first of some certificates expires.
func (e *certificate) note(certs []tls.Certificate) {
	var first time.Time
	for _, c := range certs {
		leaf := c.Leaf
		if leaf == nil && len(c.Certificate) > 0 {
			leaf, _ = x509.ParseCertificate(c.Certificate[0])
		}
		if leaf != nil && (first.IsZero() || leaf.NotAfter.Before(first)) {
			first = leaf.NotAfter
		}
	}
	if !first.IsZero() {
		e.end.Store(first.Unix())
	}
}

// expires returns when the certificate expires, zero if that is not known.
func (e *certificate) expires() time.Time {
	if s := e.end.Load(); s != 0 {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}
