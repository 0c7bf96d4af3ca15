package ingest

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"
	"time"
)

// certificate knows until when the certificate of a listener is valid. Functions of its tls.Config may return another one at
// each handshake, so that it is looked at there.
type certificate struct {
	end atomic.Int64 // in Unix seconds, 0 unknown
}

// watch lets a configuration, which nobody else has, report its certificates.
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

// note notes the first end of some certificates.
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

// expires returns until when it is valid, zero if that is not known.
func (e *certificate) expires() time.Time {
	if s := e.end.Load(); s != 0 {
		return time.Unix(s, 0).UTC()
	}
	return time.Time{}
}
