package spool

import "math"

// LastCall is for a process that ends: what its listeners have read, and what a peer's kernel counts as delivered, has to
// find room even in a full spool.
//
// From the first call on, appends may use half of what is reserved for staging; the other half keeps one segment at a time
// going. And each call lets in every Append and Offer that waits at that moment, even over the quota and the memory
// budget, as long as the disk has room beyond the reserve. That is at most one batch for each goroutine that appends: for
// a listener, one for each connection or socket. Call it before the listeners close; what they have in hand when there is
// no more time to wait comes by Intake.Keep.
func (s *Spool) LastCall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastCalls == 0 {
		s.quota.reserve -= s.opts.StageReserve / 2
	}
	s.lastCalls++
	s.moreRoom()
}

// called reports whether a batch that came in after so many calls has heard another one since, or is itself the last, and
// the disk can hold it. s.mu is held.
func (s *Spool) called(came uint64, size int64, d door) bool {
	return (s.lastCalls > came || d.last) && !s.noSpace && s.roomIn(s.quota.disk.atMost(math.MaxInt64/2)) >= withBlocks(size)
}

// overdraw accounts for a batch that LastCall has let in. s.mu is held.
func (s *Spool) overdraw(size int64) {
	q := &s.quota
	was := q.ceiling
	q.raise(s.recordBytes() + withBlocks(size))
	if was == q.limit && q.ceiling > was {
		s.log.Warn("spool: records that were in hand at the end are kept over the quota", "class", s.opts.Class, "quota", q.limit)
	}
}

// recordBytes is what the log takes, without what is staged besides. s.mu is held.
func (s *Spool) recordBytes() int64 {
	n := s.cat.recordBytes() + s.tail.unwritten
	for _, r := range s.rolled {
		n += r.end
	}
	if s.active != nil {
		n += s.active.written
	}
	return n
}

// recordBytes adds up the files that records need: one for each segment, its own unless that was given up.
func (c *catalogue) recordBytes() (n int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.segs {
		if s.NoRaw {
			n += s.StagedSize
		} else {
			n += s.Size
		}
	}
	return n
}
