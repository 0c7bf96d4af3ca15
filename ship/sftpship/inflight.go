package sftpship

import (
	"sync"
	"time"
)

const (
	// flightRate times the round trip is what has to be under way to send at 128 MiB/s, a gigabit and some.
	flightRate = 128 << 20
	// flightLeast keeps the server busy while its answers come back one by one.
	flightLeast = 512 << 10
)

// roundTrip keeps how long the last questions took that move no data. The least of them is the round trip; of several, so
// that one answer that was late does not count, and of the last, since a route may change.
type roundTrip struct {
	mu   sync.Mutex
	last [4]time.Duration
	next int
	seed bool // last holds only how long connecting took
}

// connected notes how long connecting took. It counts until there is an answer of the server's: what accepted the
// connection may be a proxy or a load balancer at this end of the line.
func (t *roundTrip) connected(d time.Duration) {
	t.add(d)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seed = true
}

// measure notes how long an answer took that was asked for at begin.
func (s *session) measure(begin time.Time) {
	if s.alive() {
		s.trip.add(time.Since(begin))
	}
}

func (t *roundTrip) add(d time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.seed {
		t.next, t.seed = 0, false
	}
	t.last[t.next%len(t.last)] = d
	t.next++
}

// requests is how many packets of this size must be in flight. More than the line holds wait in the server, which on the
// way from the network to its disk copies what waits there each time that something is added (OpenSSH 9: measured twice
// the CPU time per byte when the server is busy).
func (t *roundTrip) requests(packet int) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.next == 0 {
		return requests
	}
	least := t.last[0]
	for _, d := range t.last[1:min(t.next, len(t.last))] {
		least = min(least, d)
	}
	// In floating point: a round trip of minutes must not overflow.
	bytes := flightLeast + least.Seconds()*flightRate
	return int(min(max(bytes/float64(packet), 1), requests))
}
