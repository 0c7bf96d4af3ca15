package spool

import (
	"time"

	"github.com/penstock-go/penstock/internal/units"
)

// overdraft lets staged files of certain segments exceed the ceiling of the quota. space.mu guards it.
//
// Without it a staged file that is larger than all the room that a full spool can free would block its destination
// permanently: uncompressed output of small records is several times the size of the segment. Only a segment that is the next one
// for a destination may exceed the ceiling, after the spool has removed all files that it can do without. So at most one staged file
// for each destination is beyond the ceiling. Restore and StageRest, which are rare, remove only the pool and the spare. The free
// space of the disk is never exceeded.
type overdraft struct {
	segments map[uint64]int // by number: how many calls have allowed it
	told     time.Time      // when the log last said so
}

// overdraftEvery is how often the log says that staged files do not fit.
const overdraftEvery = time.Minute

func (o *overdraft) has(number uint64) bool { return o.segments[number] > 0 }

// allow lets the staged file of a segment exceed the ceiling until done is called.
func (s *space) allow(number uint64) (done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := &s.overdraft
	if o.segments == nil {
		o.segments = make(map[uint64]int)
	}
	o.segments[number]++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if o.segments[number]--; o.segments[number] == 0 {
			delete(o.segments, number)
		}
	}
}

// logOverdraft logs that a staged file did not fit into the quota, at most once each overdraftEvery.
func (s *space) logOverdraft(rec *StageRecord) {
	s.mu.Lock()
	used, quota := s.quota.used, s.quota.limit
	due := used > s.quota.ceiling && (s.overdraft.told.IsZero() || time.Since(s.overdraft.told) >= overdraftEvery)
	if due {
		s.overdraft.told = time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	s.log.Warn("spool: a staged file does not fit into the full spool and exceeds its quota, because a destination waits for it: "+
		"choose a codec that compresses, raise the quota, or lower the segment size",
		"class", s.opts.Class, "segment", rec.Segment, "codec", rec.Encoding.Codec, "size", units.Size(rec.Size), "used", units.Size(used), "quota", units.Size(quota))
}
