package sftpship

import (
	"sync"
	"time"
)

const (
	// flightRate times the round trip is how many bytes must be in flight to send at 128 MiB/s, a little more than a
	// gigabit.
	flightRate = 128 << 20
	// flightLeast keeps the server busy while its answers come back one by one.
	flightLeast = 512 << 10
)

// roundTrip keeps how long the last requests took that move no data. The least of these times is the round trip. Several
// are kept so that one late answer does not count, and only the last ones because a route may change.
type roundTrip struct {
	mu   sync.Mutex
	last [4]time.Duration
	next int
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
	t.last[t.next%len(t.last)] = d
	t.next++
}

// requests returns how many packets of this size must be in flight. Any more than the connection holds would wait in the
// server, which copies its waiting data each time that something is added (OpenSSH 9: measured twice the CPU time per
// byte when the server is busy).
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
