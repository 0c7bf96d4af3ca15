package spool

import (
	"time"
)

// Idle reports whether a destination's chain covers every accepted record, and no segment is open. If so it
// promises, durably, that every later segment is created at t or later: nothing more will be stored in the folder of an
// hour before t. The promise survives restarts, and clocks that are set back by at most 24 hours.
func (s *Shelf) Idle(dest string) (t time.Time, idle bool, err error) {
	d, done, err := s.holdChain(dest)
	if err != nil {
		return t, false, err
	}
	defer done()
	s.mu.Lock()
	c, delivered := d.chain, d.delivered
	s.mu.Unlock()
	// Ask the journal first: a segment that it seals after this call was created at t or later.
	t, empty := s.journal.promise(c.Through)
	if !empty || len(s.cat.after(c.Segment, 1)) > 0 {
		return time.Time{}, false, nil
	}
	c.Passed = t
	return t, true, s.saveChain(d, c, delivered)
}

// Since returns a time before which no segment was or will be created that a destination's chain does not cover. The zero time: none is
// known at the moment.
func (s *Shelf) Since(dest string) (t time.Time, err error) {
	t, idle, err := s.Idle(dest)
	if err != nil || idle {
		return t, err
	}
	c, err := s.Chain(dest)
	if err != nil {
		return t, err
	}
	// Ask the journal first: a segment that it seals after this call is then in the catalogue.
	t, _ = s.journal.promise(c.Through)
	for i, seg := range s.cat.after(c.Segment, 0) {
		if i == 0 && seg.Records == 0 && seg.Last >= seg.First {
			return time.Time{}, nil // it replaces a missing segment, whose creation time is not known
		}
		if t.IsZero() || seg.Created.Before(t) {
			t = seg.Created.UTC()
		}
	}
	return t, nil
}
