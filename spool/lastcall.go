package spool

import "math"

// LastCall is for a process that ends: what its listeners have read, and what a peer's kernel counts as delivered, has to
// find room even in a full spool.
//
// From the first call on, appends may use half of what is reserved for staging; the other half keeps one segment at a time
// going. And each call lets in every Append and Offer that waits at that moment, even over the quota and the memory
// budget, as long as the disk has room beyond the reserve. That is at most one batch for each goroutine that appends: for
// a listener, one for each connection or socket. Call it before the listeners close, and once more for what they still
// have in hand when they have read the last.
func (s *Spool) LastCall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lastCalls == 0 {
		s.quota.reserve -= s.opts.StageReserve / 2
	}
	s.lastCalls++
	s.moreRoom()
}

// called reports whether a batch that came in after so many calls has heard another one since, and the disk can hold it.
// s.mu is held.
func (s *Spool) called(came uint64, size int64) bool {
	return s.lastCalls > came && !s.noSpace && s.roomIn(s.quota.disk.atMost(math.MaxInt64/2)) >= withBlocks(size)
}

// overdraw accounts for a batch that LastCall has let in. s.mu is held.
func (s *Spool) overdraw(size int64) {
	q := &s.quota
	short := withBlocks(size) - s.roomIn(q.limit-q.used)
	if short <= 0 {
		return
	}
	if q.ceiling == q.limit {
		s.log.Warn("spool: records that were in hand at the end are kept over the quota", "class", s.opts.Class, "quota", q.limit)
	}
	q.raise(q.limit - q.reserve + short)
}
