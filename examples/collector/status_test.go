package main

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a listener that accepts one existing connection.
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

// TestStatusSlow: a client that announces a body and never sends it cannot keep its connection, nor delay the end of the
// process.
func TestStatusSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStatus(statusConns, slog.New(slog.DiscardHandler))
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

// TestStatusCrowd: clients that hold connections use up neither the descriptors of the spools nor the place of a health check.
func TestStatusCrowd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStatus(statusConns, slog.New(slog.DiscardHandler))
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
		l := pipes{make(chan net.Conn)}
		served := make(chan error)
		go func() { served <- s.Serve(l) }()
		var crowd []net.Conn
		for range 3 * statusConns {
			ours, theirs := net.Pipe()
			crowd = append(crowd, ours)
			l.conns <- theirs
			time.Sleep(time.Millisecond) // fake: one is older than the next
		}
		synctest.Wait()
		open := 0
		for _, c := range crowd {
			c.SetReadDeadline(time.Now())
			if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
				open++
			}
		}
		if open != statusConns {
			t.Errorf("%d connections are open, want %d", open, statusConns)
		}
		ours, theirs := net.Pipe()
		l.conns <- theirs
		go io.WriteString(ours, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if b, err := io.ReadAll(ours); err != nil || !strings.HasSuffix(string(b), "ok") {
			t.Errorf("a health check in the crowd was answered %q, %v", b, err)
		}
		for _, c := range crowd {
			c.Close()
		}
		s.Close()
		<-served
	})
}

// TestStatusHeader: an endless header uses no more memory than its limit.
func TestStatusHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStatus(statusConns, slog.New(slog.DiscardHandler))
		s.Handler = http.NotFoundHandler()
		ours, theirs := net.Pipe()
		l := pipes{make(chan net.Conn, 1)}
		l.conns <- theirs
		served := make(chan error)
		go func() { served <- s.Serve(l) }()
		sent := make(chan int)
		go func() {
			n, _ := io.Copy(ours, io.MultiReader(strings.NewReader("GET / HTTP/1.1\r\nHost: x\r\nX: "), io.LimitReader(endless{}, 10<<20)))
			sent <- int(n)
		}()
		go io.Copy(io.Discard, ours)
		if n := <-sent; n > 2*statusHeader+64<<10 {
			t.Errorf("the server read %d bytes of one header", n)
		}
		ours.Close()
		s.Close()
		<-served
	})
}

// endless is an endless header.
type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'a'
	}
	return len(p), nil
}

// refusing is a listener whose first Accepts return an error at which http.Server gives up.
type refusing struct {
	net.Listener
	left int
}

func (r *refusing) Accept() (net.Conn, error) {
	if r.left--; r.left >= 0 {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: os.NewSyscallError("accept4", syscall.EPERM)}
	}
	return r.Listener.Accept()
}

func (r *refusing) Addr() net.Addr { return nil } // getsockname is refused as well

// TestStatusOutlivesRefusedAccept: if the status page cannot be served for a while, the process continues, and logs it once.
func TestStatusOutlivesRefusedAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ours, theirs := net.Pipe()
		p := pipes{conns: make(chan net.Conn, 1)}
		p.conns <- theirs
		var log bytes.Buffer
		s := newStatus(statusConns, slog.New(slog.NewTextHandler(&log, nil)))
		s.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
		done := make(chan error, 1)
		go func() {
			done <- serveUntilClosed(s, &refusing{p, 20}, slog.New(slog.NewTextHandler(&log, nil)))
		}()
		go io.WriteString(ours, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		answer, err := io.ReadAll(ours)
		if err != nil || !strings.HasSuffix(string(answer), "ok") {
			t.Errorf("%q, %v", answer, err)
		}
		s.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if strings.Count(log.String(), "level=ERROR") != 1 || !strings.Contains(log.String(), "seccomp") {
			t.Errorf("the log: %s", &log)
		}
	})
}
