package spool

import (
	"context"
	"runtime"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Appends that wait for the disk share syncs, in one of two forms.
//
// Together: they wait for each other, so that one sync serves all of them. A sync takes long, whatever its size.
//
// Divided: while a sync runs for one part, the others write, so that the next sync can begin when it ends, and the disk does not
// wait until all have been woken, have come back, and have copied what they bring.
//
// Which of the two serves more depends on the disk, the processor, and what is appended. So a crowd tries both, and fewer stay
// together.
const (
	// crowded is from how many parked appends on they are a crowd; one that syncs is not counted.
	crowded = 12
	// crowdParts is which part of a crowd has to be there for the next sync of the divided form. It is more than the two that
	// alternate: else halves that differ by one would wait for each other.
	crowdParts = 3
	// writeAhead is how much is written ahead of the next sync: a full block. Less is left to whoever writes before a sync.
	writeAhead = segment.BlockTarget

	// formWindow is for how many syncs a form is measured. After so many windows as formFirst says the other one is tried, and
	// after twice as many for each try that has failed in a row, up to formLast: a try that chance has decided is soon repeated,
	// and in the end less than two of a hundred syncs are tries.
	formWindow = 24
	formFirst  = 2
	formLast   = 64
	// formPause is how many times the time from sync to sync is a pause.
	formPause = 16
	// formGain is how much more a form has to serve to be taken: less is chance.
	formGain = 1.05
)

// grouping is who shares syncs. journal.mu guards it, but for the channel.
type grouping struct {
	group int           // how many the last sync served, beside the one that did it
	crowd int           // how many waited when it ended, those included
	forms formChoice    // of a crowd
	relay chan struct{} // holds the syncer's role when it is handed over
}

// formChoice chooses the form in which a crowd is served by how many records each makes durable in the same time.
type formChoice struct {
	divided bool    // the form now
	better  bool    // the form that is not a try
	rate    float64 // records a second that it made durable, in its last window
	wait    int     // windows until the next try
	pause   int     // windows between the last try and the next

	// This window. A crowd that comes and goes is measured in pieces: only the time from sync to sync counts.
	last   time.Time // when the last sync of the crowd ended, zero if the crowd has left since
	busy   time.Duration
	syncs  int
	served uint64
}

// note says that a sync of a crowd has ended that made n records durable.
func (f *formChoice) note(n uint64, now time.Time) {
	took := now.Sub(f.last)
	// A crowd that comes once a second would be measured by how often it comes.
	first := f.last.IsZero() || f.syncs > 0 && took > formPause*f.busy/time.Duration(f.syncs)
	f.last = now
	if first {
		return
	}
	f.busy, f.syncs, f.served = f.busy+took, f.syncs+1, f.served+n
	if f.syncs < formWindow {
		return
	}
	rate := float64(f.served) / max(f.busy, 1).Seconds()
	f.busy, f.syncs, f.served = 0, 0, 0
	switch {
	case f.divided == f.better && f.wait > 0:
		f.rate = rate
		f.wait--
	case f.divided == f.better:
		f.rate = rate
		f.divided = !f.better
	case rate > formGain*f.rate:
		f.better, f.rate, f.pause = f.divided, rate, formFirst
		f.wait = f.pause
	default:
		f.pause = min(2*max(f.pause, formFirst), formLast)
		f.divided, f.wait = f.better, f.pause
	}
}

// left says that there is no crowd now.
func (f *formChoice) left() { f.last = time.Time{} }

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
	if !j.divides() {
		return len(waiting) >= j.group, false
	}
	part, n := j.crowd/crowdParts, 0
	for _, w := range waiting {
		if w.seq <= j.place.seq { // written may be behind a file that has failed, and is to be written again
			n++
		}
	}
	return len(waiting) >= part, n >= part
}

// divides reports whether there is a crowd that is divided. j.mu is held.
func (j *journal) divides() bool { return j.crowd >= crowded && j.forms.divided }

// grouped notes what a sync has served: how many of those who waited when it ended, and how many records. j.mu is held.
func (j *journal) grouped(served, waited int, records uint64) {
	j.group, j.crowd = served, waited
	if waited < crowded {
		j.forms.left()
		return
	}
	j.forms.note(records, time.Now())
}

// writesAhead reports whether somebody who waits for a sync should write meanwhile. j.mu is held.
func (j *journal) writesAhead() bool {
	return j.divides() && !j.writer.busy && j.failed == nil && j.tail.unwritten >= writeAhead
}

// relays reports whether the syncer's role is the relay's. An append that kept it for a crowd would keep its caller waiting,
// and one that gave it to another append would keep the disk waiting for that to wake up. j.mu is held.
func (j *journal) relays() bool {
	return j.divides() && len(j.syncer.waiting.parked) > 0 && len(j.syncer.claims.parked) == 0 && j.failed == nil && !j.closed
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
