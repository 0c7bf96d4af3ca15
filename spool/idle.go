package spool

import (
	"time"

	"github.com/penstock-go/penstock/spool/segment"
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

// maxClockStep is how far a clock may be set back before segments follow it. Beyond it the time before was wrong, and to
// keep to it would put everything that is received from now on under a date that is far off.
const maxClockStep = 24 * time.Hour

// beginning returns the time at which a segment that is begun now begins: the clock's, but never before that of an earlier
// segment, and never before what Idle has promised. s.mu is held.
func (j *journal) beginning() time.Time {
	now := time.Unix(0, segment.Nanos(time.Now())).UTC()
	switch back := j.begun.Sub(now); {
	case back > maxClockStep:
		j.log.Error("spool: the clock was set back by more than a day: hours that were reported as passed are filled again",
			"class", j.opts.Class, "from", j.begun, "to", now)
	case back > 0:
		return j.begun
	}
	j.begun = now
	return now
}

// promise returns a time before which no segment will begin, if the journal holds nothing behind the record through.
func (j *journal) promise(through uint64) (t time.Time, empty bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// The holder of the writer role may be about to begin a segment, with a time that was read already.
	if j.writer.busy || j.active != nil || len(j.rolled) > 0 || j.taken != j.sealedEnd.seq || through < j.taken {
		return t, false
	}
	return j.beginning(), true
}

// resumeClock finds out, once everything is recovered, when the last segment began, and what was promised.
func (s *Spool) resumeClock() {
	later := func(t time.Time) {
		if t.After(s.journal.begun) {
			s.journal.begun = t.UTC()
		}
	}
	for _, seg := range s.shelf.cat.after(0, 0) {
		later(seg.Created)
	}
	if s.journal.active != nil {
		later(s.journal.active.header.Created)
	}
	for _, d := range s.shelf.dests {
		later(d.chain.Passed)
	}
	if ahead := time.Until(s.journal.begun); ahead > time.Second {
		s.log.Warn("spool: the clock is behind the newest segment", "class", s.opts.Class, "by", ahead)
	}
}
