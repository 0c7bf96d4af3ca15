package spool

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// headerPad is the size to which headers are padded: the header has a page of its own, which no later write touches, so that a
// power cut during a write cannot tear it.
const headerPad = 4096

// footerRoom is allocated after the end of a segment, so that sealing does not need to allocate room for the footer on a
// full disk.
const footerRoom = 64 << 10

// errEnded is returned for a sync of a segment that was rolled, and so synced, meanwhile.
var errEnded = errors.New("spool: segment has ended")

// active is the segment that is being written. The writer role owns it, except the fields that say otherwise.
type active struct {
	number     uint64
	generation uint64
	file       vfs.File
	header     *segment.Header
	builder    *segment.Builder
	created    time.Time // on this process's clock, for the age
	times      *timings
	off        int64 // the offset of the next block
	written    int64 // guarded by journal.mu: the published value of off
	synced     int64 // guarded by journal.mu: everything below this offset is durable

	// mu allows one sync at a time: the kernel reports a failed write-back once for each open file, so that of two concurrent
	// syncs the wrong one could get the error.
	mu    sync.Mutex
	err   error // the first failure, which is final for this file
	ended bool  // the last sync is done; the keeper does the rest
	// failed says that err is set, for callers that hold journal.mu. They must not wait for a sync to end, since every Append and
	// Offer would wait with them.
	failed atomic.Bool
	late   []byte // the header, as long as it is not in the file: see activate
	// promised, guarded by journal.mu, is the last record that was published as written to the file: it must survive a kill.
	promised uint64
}

// fits reports whether a block of n bytes belongs in the segment: it fits, or it is too long for any segment and this one is empty.
func (a *active) fits(n int, limit int64) bool {
	return a.off+int64(segment.Align(n)) <= limit || a.off == int64(a.header.Len)
}

// sync makes all written blocks durable. After a failure the file is never synced again: Linux drops the pages that it could
// not write, and the next fdatasync reports success (https://lwn.net/Articles/752063/).
func (a *active) sync() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return errEnded
	}
	if a.err == nil {
		a.fail(a.times.sync(a.file))
	}
	return a.err
}

// finish does the last sync before the footer, unless nothing was written since the previous one. It waits for a sync in
// progress, and returns its failure.
func (a *active) finish(dirty bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil && dirty {
		a.fail(a.times.sync(a.file))
	}
	a.ended = a.err == nil
	return a.err
}

// latch records a failed write. It is not known how much of it reached the page cache, so nothing more is written to the file.
func (a *active) latch(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.fail(err)
	}
}

// fail records err as the failure, or success if err is nil. a.mu is held.
func (a *active) fail(err error) {
	a.err = err
	a.failed.Store(err != nil)
}

// rolled is a segment that has ended and waits for its footer. It can be used without one: recovery reads it like any
// other, and writes the footer if this process has not.
type rolled struct {
	active
	end    int64          // end of the valid blocks in the file
	next   uint64         // the sequence number after them
	ledger segment.Ledger // at its end
	broken bool           // the file has failed: its valid blocks must be copied to another file
	// copied is the copy, which has the segment's name, and damage is the damage in it: see sealCopy. Only the keeper uses them.
	copied *sealed
	damage []*segment.DamageError
}

// empty reports whether no block is valid: the file failed before anything was synced, and all its records are in the next segment.
func (r *rolled) empty() bool { return r.broken && r.end <= int64(r.header.Len) }

// replaced reports whether no record is lost if rolled segment i loses its unsynced blocks: its file has not failed, or all records
// that were written to it are in a later file. j.mu is held.
func (j *journal) replaced(i int) bool {
	r := j.rolled[i]
	return !r.broken || j.place.seq >= r.promised ||
		slices.ContainsFunc(j.rolled[i+1:], func(later *rolled) bool { return later.promised >= r.promised })
}

// roll ends the active segment. It syncs the segment first, so that no later segment exists while an earlier one
// may still lose its tail: if a later Open finds blocks missing before the newest segment, that is damage, never a torn tail. That
// sync is all that an Append may have to wait for; footer, truncation, their sync and the index follow in the
// background. The caller has the writer role.
func (j *journal) roll() error {
	a := j.active
	if err := j.head(a); err != nil {
		return err
	}
	j.mu.Lock()
	m := j.mark()
	dirty := j.tail.synced != j.tail.written
	j.mu.Unlock()
	j.syncBegun()
	if err := a.finish(dirty); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.advance(m)
	// The same snapshot is used for this segment's footer and the next one's header. Losses between two segments are then in the
	// ledger blocks of the later one, and the differences of all segments add up to the total.
	j.lastEnd = *j.ledgerAt(j.place)
	j.ended(a, false)
	return nil
}

// ended passes the active segment to the keeper. The next block begins another segment. That is not begun in advance,
// because its creation time names the object's hour. j.mu is held.
func (j *journal) ended(a *active, broken bool) {
	j.rolled = append(j.rolled, &rolled{
		active: active{number: a.number, generation: a.generation, file: a.file, header: a.header, builder: a.builder, promised: a.promised},
		end:    a.synced, next: j.placed.seq + 1, ledger: j.lastEnd, broken: broken,
	})
	j.active = nil
	j.left = 0
	wake(j.work)
}

// activate begins a segment whose first record will have the given number. The caller has the writer role.
//
// While records of a failed file are written again to the segment, it has no header and counts as a spare: after a kill all
// records are still in the failed file.
func (j *journal) activate(first uint64) error {
	sp := j.space.takeSpare() // first, because makeRoom may remove the spare
	j.mu.Lock()
	begins := j.beginning()
	late := j.place.seq < j.written
	j.mu.Unlock()
	if sp == nil { // the keeper was not fast enough
		var err error
		if sp, err = j.space.prepare(); err != nil {
			return err
		}
	}
	h := j.newHeader(sp.number, first, begins, j.lastEnd)
	b, err := segment.EncodeHeader(h, headerPad)
	if err == nil && !late {
		_, err = sp.file.WriteAt(b, 0)
	}
	var builder *segment.Builder
	if err == nil {
		builder, err = segment.NewBuilder(b)
	}
	if err != nil {
		// Its number is not used again. Segment numbers may have gaps, sequence numbers may not.
		j.space.discard(sp)
		return fmt.Errorf("spool: begin segment %d: %w", sp.number, err)
	}
	j.mu.Lock()
	j.active = &active{
		number: sp.number, generation: h.Generation, file: sp.file, header: h, builder: builder,
		created: time.Now(), times: j.times, off: int64(h.Len), written: int64(h.Len),
	}
	if late {
		j.active.late = b
	}
	a := j.active
	j.left = j.opts.SegmentBytes - int64(h.Len)
	wake(j.work) // for the next spare, and the age of this one
	j.mu.Unlock()
	if !late {
		j.noteBegun(a)
	}
	return nil
}

// head writes the header that activate has deferred. The caller has the writer role.
func (j *journal) head(a *active) error {
	if a.late == nil {
		return nil
	}
	if _, err := a.file.WriteAt(a.late, 0); err != nil {
		a.latch(err)
		return err
	}
	a.late = nil
	j.noteBegun(a)
	wake(j.work) // the failed file may be removed now
	return nil
}

// keepSpare prepares the next segment, and returns when to try again.
func (j *journal) keepSpare() time.Duration {
	j.mu.Lock()
	need := j.active != nil && j.space.wantsSpare(j.open())
	j.mu.Unlock()
	if !need {
		return never
	}
	sp, err := j.space.prepare()
	if err != nil {
		j.logAgain(slog.LevelWarn, "spool: cannot prepare the next segment; it is made when it is needed, which takes an append a moment longer", "err", err)
		return retryEvery
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.active == nil || sp.number < j.active.number {
		// The writer has prepared a segment itself meanwhile. Numbers must ascend, since segments are read in that order.
		j.mu.Unlock()
		j.space.discard(sp)
		j.mu.Lock()
		return never
	}
	j.space.setSpare(sp)
	return never
}

// rollAged ends the active segment when it is old enough, and returns when to look again.
func (j *journal) rollAged() time.Duration {
	j.mu.Lock()
	a := j.active
	if a == nil {
		j.mu.Unlock()
		return never
	}
	left := j.opts.SegmentAge - time.Since(a.created)
	j.mu.Unlock()
	if left > 0 {
		return left
	}
	// Pass its number: the writer may have rolled it by size meanwhile, and the next one is not old.
	if err := j.endActive(a.number, false); err != nil {
		return retryEvery
	}
	return never
}
