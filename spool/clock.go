package spool

import (
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// maxClockStep is how far a clock may be set back before segments follow it. Beyond it the time before was wrong, and to
// keep to it would put everything that is received from now on under a date that is far off.
const maxClockStep = 24 * time.Hour

// beginning returns the time at which a segment that is begun now begins: the clock's, but never before that of an earlier
// segment, and never before what Idle has promised. j.mu is held.
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

// promise returns a time before which no segment will begin, if the journal holds nothing behind the record through. Otherwise t is when
// the oldest segment began that is not sealed, the zero time if there is none.
func (j *journal) promise(through uint64) (t time.Time, empty bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// The holder of the writer role may be about to begin a segment, with a time that was read already.
	if j.writer.busy || j.active != nil || len(j.rolled) > 0 || j.taken != j.sealedEnd.seq || through < j.taken {
		return j.oldest().UTC(), false
	}
	return j.beginning(), true
}
