package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener whose one connection is there already.
type pipes struct {
	conns chan net.Conn
}

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p.conns; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p pipes) Close() error   { close(p.conns); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }

// TestStatusSlow: a client that announces a body and never sends it does not keep its connection, and so neither the end
// of the process.
func TestStatusSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStatus()
		s.Handler = http.NotFoundHandler()
		ours, theirs := net.Pipe()
		l := pipes{make(chan net.Conn, 1)}
		l.conns <- theirs
		served := make(chan error)
		go func() { served <- s.Serve(l) }()
		go io.WriteString(ours, "GET /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n")
		ours.SetReadDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.Copy(io.Discard, ours); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error("the connection is kept")
		}
		ours.Close()
		s.Close()
		<-served
	})
}
