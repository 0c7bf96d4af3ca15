package spool

import (
	"maps"
	"time"
)

// SetDown notes since when a destination cannot be reached; the zero time means that it can. A Shipper calls it.
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

// Down returns the time that SetDown has noted, in this process, or in the previous one if that closed the spool in order.
func (s *Shelf) Down(dest string) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down[dest]
}

// outages returns all times that SetDown has noted, by destination.
func (s *Shelf) outages() map[string]time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.down)
}
