package spool

import (
	"math"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Destinations get segments in order. When room is short, the segment that is the next one for a destination has priority:
// otherwise a full spool could not empty itself.

// isNext reports whether a segment is the next one for some destination. s.mu is held.
func (s *Shelf) isNext(number uint64) bool {
	for _, d := range s.dests {
		if !d.forgotten && s.cat.following(d.chain.Segment) == number {
			return true
		}
	}
	return false
}

// beyondQuota lets the staged file of a segment exceed the quota until done is called, if a destination waits for it. Before that, it
// removes files that nothing depends on, to make room for size bytes.
func (s *Shelf) beyondQuota(seg *sealed, size int64) (done func(), ok bool) {
	for !s.space.stageRoom(size) && s.space.makeRoom() {
	}
	s.mu.Lock()
	next := s.isNext(seg.Number)
	s.mu.Unlock()
	if !next {
		return func() {}, false
	}
	return s.space.allow(seg.Number), true
}

// giveInodeTo is giveInode for the staged file of a segment.
func (s *Shelf) giveInodeTo(segment uint64, err error, size int64) bool {
	s.mu.Lock()
	next := s.isNext(segment)
	s.mu.Unlock()
	return next && s.space.giveInode(err, size)
}

// mayStage returns the disk's error if a segment must leave the last inodes to an earlier one.
func (s *Shelf) mayStage(segment uint64) error {
	s.mu.Lock()
	next := s.isNext(segment)
	s.mu.Unlock()
	if next {
		return nil
	}
	return s.space.fillInodes()
}

// covered returns the number of the last segment that every destination has, 0 for none. It is 0 if there are no destinations, since
// then no Ack permits a deletion. s.mu is held, or the spool is being opened.
func (s *Shelf) covered() (n uint64) {
	first := true
	for _, d := range s.dests {
		if d.forgotten {
			continue
		}
		if first || d.chain.Segment < n {
			n = d.chain.Segment
		}
		first = false
	}
	return n
}

// pending returns the pending records of each destination, and when the oldest segment with pending records was created. unsealed is
// how many records are not sealed yet, began the creation time of the first unsealed segment.
func (s *Shelf) pending(unsealed segment.Tally, began time.Time) (owed map[string]segment.Tally, oldest map[string]time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	owed, oldest = make(map[string]segment.Tally, len(s.dests)), make(map[string]time.Time, len(s.dests))
	for name, d := range s.dests {
		if d.forgotten {
			continue
		}
		owed[name] = s.owed(d, unsealed)
		if owed[name].Records == 0 {
			continue
		}
		if t, ok := s.cat.begins(d.chain.Segment); ok {
			oldest[name] = t
		} else if !began.IsZero() {
			oldest[name] = began
		}
	}
	return owed, oldest
}

// owed returns the pending records of a destination: those in sealed segments that its chain does not cover, and the unsealed ones.
// s.mu is held, or the spool is being opened.
func (s *Shelf) owed(d *destination, unsealed segment.Tally) segment.Tally {
	t := s.cat.sum(d.chain.Segment, math.MaxUint64)
	t.Add(unsealed)
	return t
}
