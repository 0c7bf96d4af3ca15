package spool

import (
	"time"
)

// Idle reports whether a destination's chain covers everything that was ever taken, with nothing open behind it. If so it
// promises, durably, that every segment to come begins at t or later: nothing will ever be stored in the folder of an
// hour before t that the destination does not hold already. The promise outlives restarts, and clocks that are set back.
func (s *Shelf) Idle(dest string) (t time.Time, idle bool, err error) {
	d, done, err := s.holdChain(dest)
	if err != nil {
		return t, false, err
	}
	defer done()
	s.mu.Lock()
	c, delivered := d.chain, d.delivered
	s.mu.Unlock()
	// The journal first: a segment that it seals after its answer begins at t or later.
	t, empty := s.journal.promise(c.Through)
	if !empty || len(s.cat.after(c.Segment, 1)) > 0 {
		return time.Time{}, false, nil
	}
	c.Passed = t
	return t, true, s.saveChain(d, c, delivered)
}

// Since returns a time before which no segment begins that a destination's chain does not cover, of those that are there and of those to
// come. The zero time: this cannot be told at the moment.
func (s *Shelf) Since(dest string) (t time.Time, err error) {
	t, idle, err := s.Idle(dest)
	if err != nil || idle {
		return t, err
	}
	c, err := s.Chain(dest)
	if err != nil {
		return t, err
	}
	// The journal first: what it seals after its answer is in the catalogue.
	t, _ = s.journal.promise(c.Through)
	for i, seg := range s.cat.after(c.Segment, 0) {
		if i == 0 && seg.Records == 0 && seg.Last >= seg.First {
			return time.Time{}, nil // in the place of one that is missing: nobody knows when that began
		}
		if t.IsZero() || seg.Created.Before(t) {
			t = seg.Created.UTC()
		}
	}
	return t, nil
}
