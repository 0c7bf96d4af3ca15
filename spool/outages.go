package spool

import (
	"maps"
	"time"
)

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
