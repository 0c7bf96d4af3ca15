package spool

import (
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Idle reports whether a destination's chain covers everything that was ever taken, with nothing open behind it. If so it
// promises, durably, that every segment to come begins at t or later: nothing will ever be stored in the folder of an
// hour before t that the destination does not hold already. The promise outlives restarts, and clocks that are set back.
func (s *Spool) Idle(dest string) (t time.Time, idle bool, err error) {
	d, done, err := s.holdChain(dest)
	if err != nil {
		return t, false, err
	}
	defer done()
	s.mu.Lock()
	// Whoever has the writer role may be about to begin a segment, with a time that was read already.
	if s.writer.busy || s.active != nil || len(s.rolled) > 0 || s.taken != s.sealedEnd.seq ||
		d.chain.Through < s.taken || len(s.cat.after(d.chain.Segment, 1)) > 0 {
		s.mu.Unlock()
		return t, false, nil
	}
	t = s.beginning()
	c, delivered := d.chain, d.delivered
	s.mu.Unlock()
	c.Passed = t
	return t, true, s.saveChain(d, c, delivered)
}

// maxClockStep is how far a clock may be set back before segments follow it. Beyond it the time before was wrong, and to
// keep to it would put everything that is received from now on under a date that is far off.
const maxClockStep = 24 * time.Hour

// beginning returns the time at which a segment that is begun now begins: the clock's, but never before that of an earlier
// segment, and never before what Idle has promised. s.mu is held.
func (s *Spool) beginning() time.Time {
	now := time.Unix(0, segment.Nanos(time.Now())).UTC()
	switch back := s.begun.Sub(now); {
	case back > maxClockStep:
		s.log.Error("spool: the clock was set back by more than a day: hours that were reported as passed are filled again",
			"class", s.opts.Class, "from", s.begun, "to", now)
	case back > 0:
		return s.begun
	}
	s.begun = now
	return now
}

// resumeClock finds out, once everything is recovered, when the last segment began, and what was promised.
func (s *Spool) resumeClock() {
	later := func(t time.Time) {
		if t.After(s.begun) {
			s.begun = t.UTC()
		}
	}
	for _, seg := range s.cat.after(0, 0) {
		later(seg.Created)
	}
	if s.active != nil {
		later(s.active.header.Created)
	}
	for _, d := range s.dests {
		later(d.chain.Passed)
	}
	if ahead := time.Until(s.begun); ahead > time.Second {
		s.log.Warn("spool: the clock is behind the newest segment", "class", s.opts.Class, "by", ahead)
	}
}
