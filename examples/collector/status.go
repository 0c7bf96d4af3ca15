package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// The bounds of -http, which anybody may reach who can reach the port: what it takes of descriptors and memory, the spools
// and the listeners lack.
const (
	statusConns  = 64
	statusHeader = 16 << 10 // bytes
	statusTime   = 10 * time.Second
)

// newStatus is the server of -http. No answer takes long, and nobody may keep a connection busy for longer: the process
// waits for them when it ends.
func newStatus(conns int, log *slog.Logger) *http.Server {
	b := &bounded{most: conns, conns: map[net.Conn]conn{}}
	return &http.Server{
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelWarn), // its own default is standard error, which may block
		ReadTimeout: statusTime / 2, WriteTimeout: statusTime, IdleTimeout: statusTime, MaxHeaderBytes: statusHeader,
		ConnState: b.changed,
	}
}

// serveStatus serves until the server is closed. That nobody can look at the service is no reason to end it.
func serveStatus(s *http.Server, l net.Listener, log *slog.Logger) error {
	err := s.Serve(&steadyListener{Listener: l, log: log})
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// steadyListener goes on after an Accept that fails, for which http.Server ends at most errors.
type steadyListener struct {
	net.Listener
	log  *slog.Logger
	told time.Time
}

func (l *steadyListener) Accept() (net.Conn, error) {
	for wait := 5 * time.Millisecond; ; wait = min(2*wait, time.Second) {
		c, err := l.Listener.Accept()
		if err == nil || errors.Is(err, net.ErrClosed) {
			return c, err
		}
		if time.Since(l.told) > time.Minute {
			l.told = time.Now()
			l.log.Error("-http: nobody can be answered; receiving and delivering go on", "addr", l.Addr(), "err", explained(err))
		}
		time.Sleep(wait)
	}
}

// explained names the likely cause of a system call that is not to be had.
func explained(err error) error {
	for _, errno := range []error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: the system call is refused, most likely by a seccomp profile or a sandbox: allow it", err)
		}
	}
	return err
}

// bounded keeps the connections of a server down to most. For each one more it closes the one that has had no request
// for the longest time, so that a health check gets through while somebody holds connections without using them.
type bounded struct {
	most  int
	mu    sync.Mutex
	conns map[net.Conn]conn
}

// conn is what is known of a connection.
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

// evict closes a connection: one that waits before one that is busy, and of those the one that has done so for longest.
func (b *bounded) evict() {
	var victim net.Conn
	for c, x := range b.conns {
		v, found := b.conns[victim]
		if !found || v.busy && !x.busy || v.busy == x.busy && x.since.Before(v.since) {
			victim = c
		}
	}
	delete(b.conns, victim)
	_ = victim.Close() // nothing is written to it any more
}
