package spool

import (
	"context"
	"runtime"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Appends that wait for the disk share syncs, in one of two forms.
//
// Together: the appends wait for each other, so that one sync serves all of them. A sync takes long, whatever its size.
//
// Divided: while a sync runs for one part of the appends, the others write, so that the next sync can begin as soon as it ends. The
// disk does not have to wait until all appends have been woken, have come back, and have copied their next batches.
//
// Which form makes more records durable depends on the disk, the processor, and the batches. So a crowd tries both forms, and fewer
// appends always share syncs together.
const (
	// crowded is the number of parked appends from which they count as a crowd, without the one that syncs.
	crowded = 12
	// crowdParts: in the divided form the next sync begins when a third of the crowd waits for it. Two parts alternate; if a half
	// had to wait, halves that differ by one would wait for each other.
	crowdParts = 3
	// writeAhead is the number of unwritten bytes from which a waiting append writes while a sync runs: a full block. Fewer bytes
	// are written before the next sync.
	writeAhead = segment.BlockTarget

	// formWindow is the number of syncs over which a form is measured. After formFirst windows the other form is tried; each
	// failed try in a row doubles the number of windows until the next one, up to formLast. So a try that was decided by chance is
	// soon repeated, and in the long run less than two of a hundred syncs are tries.
	formWindow = 24
	formFirst  = 2
	formLast   = 64
	// formPause: a time between two syncs that is more than this many times the average is a pause, and is not measured.
	formPause = 16
	// formGain is by which factor a form must be faster to replace the other one: a smaller difference may be chance.
	formGain = 1.05
)

// grouping is the state by which appends share syncs. journal.mu guards it, except the channel.
type grouping struct {
	group int           // how many waiting appends the last sync served
	crowd int           // how many appends waited when it ended, those included
	forms formChoice    // of a crowd
	relay chan struct{} // holds a token when the syncer role is handed to the relay
}

// formChoice chooses the form that makes more of a crowd's records durable in the same time.
type formChoice struct {
	divided bool    // the current form
	better  bool    // the form chosen so far; the current form differs from it during a try
	rate    float64 // records per second that the better form made durable in its last window
	wait    int     // windows until the next try
	pause   int     // windows between the last try and the next

	// The current window. If a crowd leaves and comes back, only the times from sync to sync count.
	last   time.Time // when the last sync of the crowd ended, zero if the crowd has left since
	busy   time.Duration
	syncs  int
	served uint64
}

// note adds a sync that has just ended and made n records of a crowd durable.
func (f *formChoice) note(n uint64, now time.Time) {
	took := now.Sub(f.last)
	// Without this, the measured rate of a crowd that comes once a second would depend on how often it comes.
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

// left notes that there is no crowd now.
func (f *formChoice) left() { f.last = time.Time{} }

// commit is the syncer's work: it makes durable the records that others wait for. One sync serves all records that were written
// before it began; the next sync serves those that are written while it runs. The caller has the syncer role.
func (j *journal) commit() {
	if !j.gather() {
		j.writeOut()
	}
	j.sync()
}

// gather lets the appends that the last sync served come back with their next batch, before the first of them begins a sync for
// itself alone: otherwise syncs for one append and for all the others would alternate, at half the speed. It reports whether
// enough is written already.
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

// gatherTries limits the wait to a few microseconds if appends do not come back.
const gatherTries = 8

// gathered reports whether enough appends wait for the next sync, and whether enough of them are written already. j.mu is held.
func (j *journal) gathered() (there, written bool) {
	waiting := j.syncer.waiting.parked
	if !j.divides() {
		return len(waiting) >= j.group, false
	}
	part, n := j.crowd/crowdParts, 0
	for _, w := range waiting {
		if w.seq <= j.place.seq { // j.written may include records of a failed file, which must be written again
			n++
		}
	}
	return len(waiting) >= part, n >= part
}

// divides reports whether there is a crowd, and its form is divided. j.mu is held.
func (j *journal) divides() bool { return j.crowd >= crowded && j.forms.divided }

// grouped notes a sync that has ended: how many appends waited then, how many of them it served, and how many records it made
// durable. j.mu is held.
func (j *journal) grouped(served, waited int, records uint64) {
	j.group, j.crowd = served, waited
	if waited < crowded {
		j.forms.left()
		return
	}
	j.forms.note(records, time.Now())
}

// writesAhead reports whether an append that waits for a sync should write meanwhile. j.mu is held.
func (j *journal) writesAhead() bool {
	return j.divides() && !j.writer.busy && j.failed == nil && j.tail.unwritten >= writeAhead
}

// relays reports whether the syncer role must be given to the relay. If an append kept the role for a crowd, its caller would have to
// wait. If it gave the role to another append, the disk would be idle until that one wakes up. j.mu is held.
func (j *journal) relays() bool {
	return j.divides() && len(j.syncer.waiting.parked) > 0 && len(j.syncer.claims.parked) == 0 && j.failed == nil && !j.closed
}

// relaySyncs is the relay: it syncs for a crowd, as long as there is one.
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
