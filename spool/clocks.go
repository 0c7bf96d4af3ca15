package spool

import (
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// clocks record when each outage began. A process that closes the spool in order passes them to its successor, so that a
// hand-over or a restart during an outage does not reset them.
type clocks struct {
	// Down has the destinations that cannot be reached, and since when.
	Down map[string]time.Time `json:"down,omitempty"`
	// Full is when the spool became full, Lost what had been lost as spool_full before that.
	Full *time.Time    `json:"full,omitempty"`
	Lost *segment.Loss `json:"lost_before,omitempty"`
}

// takeClocks takes over the clocks of the previous process if it closed the spool in order. The spool is being opened.
func (s *Spool) takeClocks(m *cleanMark) {
	s.journal.fullness.lost = s.journal.ledger.Lost[segment.SpoolFull]
	if m == nil || m.Clocks == nil {
		return
	}
	c := m.Clocks
	now := time.Now()
	for dest, since := range c.Down {
		if since.Before(now) { // if the clock was set back meanwhile, the outage would begin in the future
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
