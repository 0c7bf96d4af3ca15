package spool

import (
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// fullEvery is how often the log repeats that the spool is full.
	fullEvery = time.Minute
	// fullCalm is how long the spool must have had room before it counts as no longer full. A spool at its limit has room for a
	// moment each time a segment is deleted.
	fullCalm = 10 * time.Second
)

// fullness remembers how long the spool has been full. The log reports when the spool becomes full, each minute how much has been
// lost so far, and when it is no longer full. journal.mu guards it.
type fullness struct {
	since time.Time // when the spool became full; zero while there is room
	met   bool      // an append has found no room since the last look
	last  time.Time // when it was full for the last time
	told  time.Time // when the log last reported it
	// lost is the loss by spool_full up to the last look that found room. Losses after that look belong to the time when it is full.
	lost segment.Loss
}

// look updates f, and reports whether to log that the spool is full, or that this is over.
func (f *fullness) look(now time.Time, full bool, lost segment.Loss) (tell, over bool) {
	switch {
	case full && f.since.IsZero():
		*f = fullness{since: now, last: now, told: now, lost: f.lost}
		return true, false
	case f.since.IsZero():
		f.lost = lost
		return false, false
	case full:
		f.last = now
	case now.Sub(f.last) >= fullCalm:
		return true, true
	}
	if tell = now.Sub(f.told) >= fullEvery; tell {
		f.told = now
	}
	return tell, false
}

// fullReport is what the log says about a spool that is full, or was.
type fullReport struct {
	over    bool
	lasted  time.Duration
	lost    uint64 // records, meanwhile
	waiting int    // appends
	disk    bool   // the disk is full; otherwise the quota is used up
}

// lookFull checks whether the journal is full, and reports whether to log r.
func (j *journal) lookFull() (r fullReport, tell bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	f := &j.fullness
	lost := j.ledger.Lost[segment.SpoolFull]
	tell, over := f.look(time.Now(), f.met || j.full || !j.hasRoom(0), lost)
	f.met = false
	r = fullReport{
		over: over, lasted: f.last.Sub(f.since).Round(time.Second), lost: lost.Records - f.lost.Records,
		waiting: len(j.room.parked), disk: j.noSpace || j.space.diskShort(j.open()),
	}
	if over {
		*f = fullness{lost: lost}
	}
	return r, tell
}

// fullClocks returns clocks with the time since which the spool has been full. j.mu is held.
func (j *journal) fullClocks() *clocks {
	c := new(clocks)
	if f := &j.fullness; !f.since.IsZero() {
		since := f.since.UTC()
		lost := f.lost
		c.Full, c.Lost = &since, &lost
	}
	return c
}
