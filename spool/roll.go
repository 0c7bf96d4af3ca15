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

// headerPad is what headers are padded to: the header has a page of its own, which no later write touches, so that a
// power cut in the middle of one cannot tear it.
const headerPad = 4096

// footerRoom is allocated behind the end of a segment, so that sealing does not have to find a place for the footer on a
// disk that has become full.
const footerRoom = 64 << 10

// errEnded is returned for a sync of a segment that was rolled meanwhile, which has synced it.
var errEnded = errors.New("spool: segment has ended")

// active is the segment that is being written. The writer role owns it, but for what is marked.
type active struct {
	number     uint64
	generation uint64
	file       vfs.File
	header     *segment.Header
	builder    *segment.Builder
	created    time.Time // on this process's clock, for the age
	times      *timings
	off        int64 // where the next block goes
	written    int64 // guarded by journal.mu: off as far as it is published
	synced     int64 // guarded by journal.mu: below it everything is durable

	// One sync at a time: the kernel reports a failed write-back once for each open file, so that of two syncs that run at
	// the same time the wrong one could hear of it.
	mu    sync.Mutex
	err   error // the first failure, which is final for this file
	ended bool  // synced for good, what follows is the keeper's
	// failed says that err is set, for those who must not wait for a sync to end: journal.mu is held when it is asked for, and
	// with it every door.
	failed atomic.Bool
	late   []byte // the header, as long as it is not in the file: see activate
	// promised, guarded by journal.mu, is the last record that was published as written to the file: a kill must leave it.
	promised uint64
}

// fits reports whether a block of n bytes goes into the segment, or must, since it would not fit into any.
func (a *active) fits(n int, limit int64) bool {
	return a.off+int64(segment.Align(n)) <= limit || a.off == int64(a.header.Len)
}

// sync makes durable what is written. After a failure the file is never synced again: Linux drops the pages it could
// not write, and the next fdatasync finds nothing to complain about (https://lwn.net/Articles/752063/).
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

// finish is the last sync before the footer, left out if nothing was written since the one before. It waits for one that is
// under way, and learns of its failure.
func (a *active) finish(dirty bool) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil && dirty {
		a.fail(a.times.sync(a.file))
	}
	a.ended = a.err == nil
	return a.err
}

// latch records a failed write. Nobody can tell how much of it reached the page cache, so nothing more is written to the file.
func (a *active) latch(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err == nil {
		a.fail(err)
	}
}

// fail records a failure, if it is one. a.mu is held.
func (a *active) fail(err error) {
	a.err = err
	a.failed.Store(err != nil)
}

// rolled is a segment that has ended and waits for its footer. It is complete without one: recovery reads it like any
// other, and writes the footer if this process does not come to it.
type rolled struct {
	active
	end    int64          // of what counts in the file
	next   uint64         // the sequence number behind it
	ledger segment.Ledger // at its end
	broken bool           // the file has failed: what counts has to be copied to another
	// copied is the copy, which has the segment's name, and damage what it lacks: see sealCopy. They are the keeper's.
	copied *sealed
	damage []*segment.DamageError
}

// empty reports whether nothing in it counts: it had failed before anything was synced, and everything is in the next.
func (r *rolled) empty() bool { return r.broken && r.end <= int64(r.header.Len) }

// replaced reports whether all that rolled segment i would lose with its file is in the file of a later one, or would be
// nothing. j.mu is held.
func (j *journal) replaced(i int) bool {
	r := j.rolled[i]
	return !r.broken || j.place.seq >= r.promised ||
		slices.ContainsFunc(j.rolled[i+1:], func(later *rolled) bool { return later.promised >= r.promised })
}

// roll ends the active segment. Everything in it is synced first, so that no later segment exists while an earlier one
// may still lose its tail: what a later Open finds missing before the newest segment is damage, never a torn tail. That
// sync is the only thing an Append may wait for here; footer, truncation, their sync and the index follow in the
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
	// One snapshot for this segment's footer and the next one's header: losses between two segments are in the
	// ledger blocks of the later one, and the differences of all segments add up to the whole.
	j.lastEnd = *j.ledgerAt(j.place)
	j.ended(a, false)
	return nil
}

// ended hands the active segment to the keeper. The next block begins another one. The next segment is not begun in advance,
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
// While the segment takes over what another file has, since that one failed, it has no header and counts as a spare: a kill
// in the middle finds everything in the other one.
func (j *journal) activate(first uint64) error {
	sp := j.space.takeSpare() // what makes room may want it too
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
		// The number is gone with it. Numbers may be missing, sequence numbers never are.
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

// head writes the header that activate has put off. The caller has the writer role.
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
	wake(j.work) // for the file that failed, which may go now
	return nil
}

// keepSpare prepares the segment to come, and returns when to try again.
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
		// The writer was faster and has made one itself. Numbers must go up, since segments are read in their order.
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
	// By its number: the writer may have rolled it by size meanwhile, and the next one is not old.
	if err := j.endActive(a.number, false); err != nil {
		return retryEvery
	}
	return never
}
