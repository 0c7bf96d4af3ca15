package spool

import (
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// maxClockStep is how far the clock may be set back without affecting the creation times of segments. After a larger step the earlier
// time is taken to be wrong: keeping it would file all records from now on under a date far from the true one.
const maxClockStep = 24 * time.Hour

// beginning returns the creation time of a segment that is created now: the clock's time, but never before that of an earlier
// segment, and never before the time that Idle has promised, unless the clock was set back by more than maxClockStep. j.mu is held.
func (j *journal) beginning() time.Time {
	now := time.Unix(0, segment.Nanos(time.Now())).UTC()
	switch back := j.begun.Sub(now); {
	case back > maxClockStep:
		j.log.Error("spool: the clock was set back by more than a day: hours that were reported as passed are filled again, so readers of whole hours must read them again: correct the clock",
			"class", j.opts.Class, "from", j.begun, "to", now)
	case back > 0:
		return j.begun
	}
	j.begun = now
	return now
}

// promise returns a time before which no segment will be created, if the journal holds no record after through. Otherwise t is when
// the oldest unsealed segment was created, the zero time if there is none.
func (j *journal) promise(through uint64) (t time.Time, empty bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// The holder of the writer role may be about to create a segment with a time that it has already read.
	if j.writer.busy || j.active != nil || len(j.rolled) > 0 || j.taken != j.sealedEnd.seq || through < j.taken {
		return j.oldest().UTC(), false
	}
	return j.beginning(), true
}
