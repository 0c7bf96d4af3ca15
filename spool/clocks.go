package spool

import (
	"maps"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// clocks record when each outage began. A process that closes the spool in order passes them to its successor, so that a
// hand-over or a restart during an outage does not reset them.
type clocks struct {
	// Down has the destinations to which nothing gets through.
	Down map[string]time.Time `json:"down,omitempty"`
	// Full is when the spool became full, Lost what had been lost for want of room by then.
	Full *time.Time    `json:"full,omitempty"`
	Lost *segment.Loss `json:"lost_before,omitempty"`
}

// SetDown notes since when nothing gets through to a destination, the zero time that something does. A Shipper calls it.
func (s *Shelf) SetDown(dest string, since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since.IsZero() {
		delete(s.down, dest)
		return
	}
	if s.down == nil {
		s.down = map[string]time.Time{}
	}
	s.down[dest] = since
}

// Down returns what SetDown has noted, in this process or in the one before it if that closed the spool in good order.
func (s *Shelf) Down(dest string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down[dest]
}

// outages returns what SetDown has noted.
func (s *Shelf) outages() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.down)
}

// fullClocks returns since when the spool has been full. j.mu is held.
func (j *journal) fullClocks() *clocks {
	c := new(clocks)
	if f := &j.fullness; !f.since.IsZero() {
		since := f.since.UTC()
		lost := f.lost
		c.Full, c.Lost = &since, &lost
	}
	return c
}

// takeClocks goes on with those of the process before. The spool is being opened.
func (s *Spool) takeClocks(c *clocks) {
	if c == nil {
		return
	}
	now := time.Now()
	for dest, since := range c.Down {
		if since.Before(now) { // a clock that was set back meanwhile would make outages of the future
			s.shelf.SetDown(dest, since)
		}
	}
	if c.Full != nil && c.Full.Before(now) {
		f := fullness{since: *c.Full, last: now}
		if c.Lost != nil {
			f.lost = *c.Lost
		}
		s.journal.fullness = f
	}
}
