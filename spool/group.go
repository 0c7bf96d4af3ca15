package spool

import (
	"context"
	"runtime"

	"github.com/penstock-go/penstock/spool/segment"
)

// Appends that wait for the disk share syncs. Some wait for each other, so that one sync serves all of them: it takes long,
// whatever its size. A crowd is divided: while a sync runs for one part, the others write, so that the next sync can begin
// when it ends, and the disk does not wait until a crowd has been woken, has come back, and has copied what it brings.
const (
	// crowded is from how many on they are a crowd. Measured with 32 KiB each: 4 and 8 are faster together, 32 are divided.
	crowded = 12
	// crowdParts is which part of a crowd has to be there for the next sync. It is more than the two that alternate: else
	// halves that differ by one would wait for each other.
	crowdParts = 3
	// writeAhead is how much is written ahead of the next sync: a full block. Whoever syncs writes the rest with one call.
	writeAhead = segment.BlockTarget
)

// grouping is who shares syncs. journal.mu guards it.
type grouping struct {
	group int           // how many the last sync served, beside the one that did it
	crowd int           // how many waited when it ended, those included
	relay chan struct{} // holds the syncer's role when it is handed over
}

// commit is the syncer's work: it makes durable what others wait for. One sync serves all that was written before it began;
// what comes while it runs is served by the next. The caller has the syncer role.
func (j *journal) commit() {
	if !j.gather() {
		j.writeOut()
	}
	j.sync()
}

// gather lets those whom the last sync served come back with their next batch, before the first of them begins a sync
// for itself alone: else groups of one and of all the others would take turns, at half the speed. It reports whether
// enough is written.
func (j *journal) gather() (written bool) {
	for range gatherTries {
		j.mu.Lock()
		there, written := j.gathered()
		j.mu.Unlock()
		if there {
			return written
		}
		runtime.Gosched()
	}
	return false
}

// gatherTries bounds the wait: a few microseconds for those who do not come back.
const gatherTries = 8

// gathered reports whether enough appends wait for the next sync, and whether so many are written. j.mu is held.
func (j *journal) gathered() (there, written bool) {
	waiting := j.syncer.waiting.parked
	if j.crowd < crowded {
		return len(waiting) >= j.group, false
	}
	part, n := j.crowd/crowdParts, 0
	for _, w := range waiting {
		if w.seq <= j.written {
			n++
		}
	}
	return len(waiting) >= part, n >= part
}

// writesAhead reports whether somebody who waits for a sync should write meanwhile. j.mu is held.
func (j *journal) writesAhead() bool {
	return j.crowd >= crowded && !j.writer.busy && j.failed == nil && j.tail.unwritten >= writeAhead
}

// relays reports whether the syncer's role is the relay's. An append that kept it for a crowd would keep its caller waiting,
// and one that gave it to another append would keep the disk waiting for that to wake up. j.mu is held.
func (j *journal) relays() bool {
	return j.crowd >= crowded && len(j.syncer.waiting.parked) > 0 && len(j.syncer.claims.parked) == 0 && j.failed == nil && !j.closed
}

// relaySyncs is the relay: it makes durable what a crowd waits for, as long as there is one.
func (j *journal) relaySyncs(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.relay:
		}
		for more := true; more; {
			j.commit()
			j.mu.Lock()
			if more = j.relays(); !more {
				j.release(&j.syncer)
			}
			j.mu.Unlock()
		}
	}
}
