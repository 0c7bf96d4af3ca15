package ingest

import (
	"fmt"
	"net/netip"
	"sync"
	"time"
)

// connSet holds the open connections of a listener and enforces their limits.
type connSet struct {
	mu        sync.Mutex
	all       map[*conn]struct{}
	perSource map[netip.Prefix]int
	max       int
	shares    *shares
	maxSource int
	refused   uint64
	closing   time.Time // when Grace ends; zero while open
	aborted   bool
}

func (s *connSet) init(shares *shares, max, maxSource int) {
	s.shares = shares
	s.all = make(map[*conn]struct{})
	s.perSource = make(map[netip.Prefix]int)
	s.max, s.maxSource = max, maxSource
}

// source returns the unit by which connections are limited: an IPv4 address, or an IPv6 /64, which is usually assigned
// to one host as a whole.
func source(a netip.Addr) netip.Prefix {
	bits := a.BitLen()
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // of an invalid address: the zero Prefix
	return p
}

// add admits a connection, or says why not. One that comes from the kernel's queue while the listener is closing gets
// the same time to end as all others.
func (s *connSet) add(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted && c.t.acks { // turnAway counts what its peer has sent
		return ErrServerClosed
	}
	if !s.shares.acquire(len(s.all), s.max) {
		s.refused++
		return fmt.Errorf("ingest: %d connections are open, the maximum is %d", len(s.all), s.shares.most(s.max))
	}
	// All clients of a proxy have its address; identify distinguishes them later.
	if !c.proxied {
		if err := s.claim(c); err != nil {
			s.shares.release()
			return err
		}
	}
	s.all[c] = struct{}{}
	if !s.closing.IsZero() {
		c.shut(s.closing)
	}
	return nil
}

// identify applies the limit to a proxied connection's client, once it is known.
func (s *connSet) identify(c *conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.claim(c)
}

// claim counts a connection against the limit of its source; s.mu is held.
func (s *connSet) claim(c *conn) error {
	src, most := source(c.src.Addr()), s.maxSource
	if all := s.shares.most(s.max); all < s.max { // if connections are scarce, one source must leave half of them to others
		most = min(most, max(1, all/2))
	}
	if s.perSource[src] >= most {
		s.refused++
		return fmt.Errorf("ingest: %d connections are open from %s, the maximum", most, src)
	}
	s.perSource[src]++
	c.source, c.counted = src, true
	return nil
}

func (s *connSet) remove(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shares.release()
	delete(s.all, c)
	if c.counted {
		if s.perSource[c.source]--; s.perSource[c.source] == 0 {
			delete(s.perSource, c.source)
		}
	}
}

// close half-closes all connections, including those that are added later.
func (s *connSet) close(until time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.aborted {
		return
	}
	s.closing = until
	for c := range s.all {
		c.shut(until)
	}
}

// abort ends all connections, including those that are added later: see conn.abort.
func (s *connSet) abort() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.aborted, s.closing = true, past
	for c := range s.all {
		c.abort()
	}
}

// queued returns how many unread bytes of all connections the kernel has queued.
func (s *connSet) queued() (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.all {
		bytes += queuedIn(c.nc)
	}
	return bytes
}

func (s *connSet) count() (open int, refused uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all), s.refused
}
