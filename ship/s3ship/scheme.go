package s3ship

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// scheme finds out whether a port speaks TLS. Many servers with TLS only close a connection without TLS, and send no
// response. It tries a handshake, at most once per schemeEvery.
type scheme struct {
	mu    sync.Mutex
	asked time.Time
	tls   bool // the answer
}

const (
	schemeEvery   = 30 * time.Second
	schemeTimeout = 2 * time.Second
)

var errSpeaksTLS = errors.New("this port speaks TLS")

// explain adds to an error that the port speaks TLS, if it does.
func (s *scheme) explain(ctx context.Context, next any, req *http.Request, err error) error {
	t, ok := next.(roundTripper)
	if !ok || req.URL.Scheme != "http" || !closed(err) {
		return err
	}
	if t.Proxy != nil {
		if proxy, perr := t.Proxy(req); proxy != nil || perr != nil {
			return err // the connection is a proxy's
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if time.Since(s.asked) >= schemeEvery {
		s.asked, s.tls = time.Now(), handshake(ctx, t, req)
	}
	if s.tls {
		return fmt.Errorf("%w: %w", errSpeaksTLS, err)
	}
	return err
}

// handshake reports whether a TLS handshake succeeds. The peer's identity does not matter, because nothing is sent.
func handshake(ctx context.Context, t roundTripper, req *http.Request) bool {
	ctx, cancel := context.WithTimeout(ctx, schemeTimeout)
	defer cancel()
	port := req.URL.Port()
	if port == "" {
		port = "80"
	}
	conn, err := t.DialContext(ctx, "tcp", net.JoinHostPort(req.URL.Hostname(), port))
	if err != nil {
		return false
	}
	defer conn.Close()
	c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // see above
	return c.HandshakeContext(ctx) == nil
}

// closed reports whether the peer has closed the connection without a response. The transport may report that as its
// own doing.
func closed(err error) bool {
	for _, e := range []error{io.EOF, io.ErrUnexpectedEOF, net.ErrClosed, syscall.ECONNRESET, syscall.EPIPE} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
