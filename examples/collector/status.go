package main

import (
	"net"
	"net/http"
	"sync"
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
func newStatus(conns int) *http.Server {
	b := &bounded{most: conns, conns: map[net.Conn]conn{}}
	return &http.Server{
		ReadTimeout: statusTime / 2, WriteTimeout: statusTime, IdleTimeout: statusTime, MaxHeaderBytes: statusHeader,
		ConnState: b.changed,
	}
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
