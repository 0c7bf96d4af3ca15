package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/drain/monitor"
	"github.com/penstock-go/penstock/ingest"
)

// The limits of the status page, which anyone who can reach the port can use. Descriptors and memory that it uses are not
// available to the spools and the listeners.
const (
	statusConns  = 64
	statusHeader = 16 << 10 // bytes
	statusTime   = 10 * time.Second
)

// pages returns the handler of the status page.
func (s *service) pages(preStop http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", s.drainer.Handler())
	mux.Handle("/{$}", s.watch.Handler())
	mux.Handle("/status.json", s.watch.Handler())
	mux.Handle("GET /metrics", monitor.Handler(s.watch))
	mux.Handle("GET /adoptions", s.orphans)
	if preStop != nil {
		mux.Handle("/prestop", preStop)
	}
	return mux
}

// serveStatus begins to serve the status page, on the socket of the predecessor if there is one.
func (s *service) serveStatus(ctx context.Context, predecessor *ingest.Inheritance) (err error) {
	if s.c.http == "" {
		return nil
	}
	var inherited *os.File
	if predecessor != nil {
		inherited = predecessor.File(httpName)
	}
	if inherited != nil {
		s.socket, err = net.FileListener(inherited)
	} else {
		s.socket, err = net.Listen("tcp", s.c.http)
	}
	if err == nil && s.socket.Addr() == nil {
		err = errors.New("the system does not tell the address of the socket (getsockname(2) is refused): allow it")
	}
	if err != nil {
		return fmt.Errorf("-http: %w", explained(err))
	}
	s.log.Info("status page", "url", "http://"+s.socket.Addr().String()+"/")
	go func() {
		if err := serveUntilClosed(s.status, s.socket, s.log); err != nil {
			s.cancel(fmt.Errorf("-http: %w", err))
		}
	}()
	go func() { _ = s.watch.Run(ctx) }() // it fails only without a context
	return nil
}

// newStatus returns the server of the status page. Its time limits are short because every answer is quick, and because the
// process waits for open requests when it ends.
func newStatus(conns int, log *slog.Logger) *http.Server {
	b := &bounded{most: conns, conns: map[net.Conn]conn{}}
	return &http.Server{
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn), // the default, standard error, may block
		ReadTimeout: statusTime / 2, WriteTimeout: statusTime, IdleTimeout: statusTime, MaxHeaderBytes: statusHeader,
		ConnState: b.changed,
	}
}

// serveUntilClosed serves until the server is closed. A failed Accept does not end it.
func serveUntilClosed(s *http.Server, l net.Listener, log *slog.Logger) error {
	err := s.Serve(&steadyListener{Listener: l, log: log})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// steadyListener continues after a failed Accept: http.Server would return at most errors.
type steadyListener struct {
	net.Listener
	log    *slog.Logger
	logged time.Time
}

func (l *steadyListener) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		c, err := l.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return c, err
		}
		if time.Since(l.logged) > time.Minute {
			l.logged = time.Now()
			l.log.Error("the status page accepts no connections; the service continues", "addr", l.Addr(), "err", explained(err))
		}
		time.Sleep(wait)
	}
}

// explained adds the likely cause to an error for which the system call has no other reason.
func explained(err error) error {
	for _, errno := range []error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: the system call is refused, most likely by a seccomp profile or a sandbox: allow it", err)
		}
	}
	return err
}

// bounded limits the connections of a server. For each connection beyond the limit it closes the one that has had no request
// for the longest time, so that a health check succeeds while somebody holds connections without using them.
type bounded struct {
	most  int
	mu    sync.Mutex
	conns map[net.Conn]conn
}

// conn is the state of a connection.
type conn struct {
	busy  bool // a request has been read and is being answered
	since time.Time
}

// changed is an http.Server's ConnState. The server calls it for a new connection before it accepts the next one.
func (b *bounded) changed(c net.Conn, s http.ConnState) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch s {
	case http.StateNew:
		if len(b.conns) >= b.most {
			b.evict()
		}
		b.conns[c] = conn{since: time.Now()}
	case http.StateActive, http.StateIdle:
		if _, ok := b.conns[c]; ok { // otherwise it is being closed
			b.conns[c] = conn{busy: s == http.StateActive, since: time.Now()}
		}
	case http.StateClosed, http.StateHijacked:
		delete(b.conns, c)
	}
}

// evict closes a connection: the oldest idle one, or the oldest busy one if none is idle.
func (b *bounded) evict() {
	var victim net.Conn
	for c, x := range b.conns {
		v, found := b.conns[victim]
		if !found || v.busy && !x.busy || v.busy == x.busy && x.since.Before(v.since) {
			victim = c
		}
	}
	delete(b.conns, victim)
	_ = victim.Close() // no more is sent to it
}
