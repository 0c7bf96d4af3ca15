package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// lifeMark is a file that exists as long as a process has the spool open. It says how much that process may have in memory, and is
// durable before the first record is accepted. The next process cannot know this otherwise, since its own options may differ.
type lifeMark struct {
	Version int       `json:"version"` // 1
	Since   time.Time `json:"since"`
	// AtMostBytes is the memory budget, or more once a larger batch was taken.
	AtMostBytes int64 `json:"at_most_bytes"`
	// Handed is the part of AtMostBytes that a successor may hold, 0 if there is no successor: see Shelf.HandOver.
	Handed int64 `json:"handed,omitempty"`
	// Ends are the sudden ends that the process has found and reports. The log does not name them before its next ledger block.
	Ends []segment.Unaccounted `json:"ends,omitempty"`
	// Opening is the time of the clean mark that the process has found, until the removal of that mark is durable. Without that clean mark
	// it proves nothing: an older copy of the file may have come back.
	Opening time.Time `json:"opening,omitzero"`
}

// outlives reports whether the clean mark c is obsolete: a later process died, and an older copy of c has come back. But c is valid
// if m.Since equals c.Life: then a power cut has brought back the life mark of a process that ended in order. It is also valid if
// m.Opening equals c.Time: then the process died while it opened the spool, and had nothing in memory.
func (m *lifeMark) outlives(c *cleanMark) bool {
	return !m.Since.Equal(c.Life) && !m.Opening.Equal(c.Time)
}

// lifeBudget is how much may be in memory and be lost by a kill. journal.mu guards it.
type lifeBudget struct {
	noted   lifeMark  // in the directory, unless refused is set
	refused time.Time // when the disk refused to write noted; zero if it did not
	raising bool      // a goroutine writes a higher bound: see cover
	raised  waitList  // for the end of that write
}

// beginLife writes the life mark of this process, j.noted. From here on no more bytes than the mark says are in memory and not in
// the log. held is how much it may already hold as a successor. opening is the time of the existing clean mark, zero if there is none,
// or not any more.
func (j *journal) beginLife(held int64, ends []segment.Unaccounted, opening time.Time) error {
	j.noted = lifeMark{Version: 1, Since: j.opened.UTC(), AtMostBytes: j.opts.MemoryBytes + held, Ends: ends, Opening: opening}
	return j.writeLife(j.noted)
}

func (j *journal) writeLife(m lifeMark) error {
	b, err := statefile.Seal(m)
	if err != nil {
		return err
	}
	return j.space.writeAtomic(j.path(lifeName), b)
}

// cover raises the bound in the life mark to at least the given bytes, and reports whether it has released j.mu meanwhile, which is
// held at call and return. Batches above the budget are rare, so each doubles the bound. The batch is accepted even if the disk
// refuses to write the mark. Cancelling ctx ends a wait for another goroutine's write.
func (j *journal) cover(ctx context.Context, bytes int64) (waited bool, err error) {
	return j.raise(ctx, func(m *lifeMark) bool {
		if bytes <= m.AtMostBytes {
			return false
		}
		m.AtMostBytes = 2 * bytes
		return true
	})
}

// raise writes the life mark again if change has changed it, or if the disk refused it before. For j.mu and ctx see cover.
//
// One goroutine at a time raises the bound, and j.noted changes after the attempt to write it. So no batch relies on a bound that is
// still being written, and a lower bound never replaces a higher one in the file. If the disk refuses, the bound holds in memory
// only, the log says so, and a later batch above the budget tries again. After Close nothing is written: another process may have the
// spool.
func (j *journal) raise(ctx context.Context, change func(*lifeMark) bool) (waited bool, err error) {
	for {
		m := j.noted
		if changed := change(&m); j.closed || !changed && (j.refused.IsZero() || time.Since(j.refused) < retryEvery) {
			return waited, nil
		}
		waited = true
		if j.raising {
			if err := j.park(ctx, &j.raised, noMark); err != nil {
				return waited, err
			}
			continue
		}
		j.raising = true
		j.mu.Unlock()
		err := j.writeLife(m)
		j.mu.Lock()
		j.raising = false
		j.noted, j.refused = m, time.Time{}
		if err != nil {
			j.refused = time.Now()
			j.logAgain(slog.LevelWarn, "spool: cannot record that more than the memory budget may be in memory; if the process is killed now, the next start may understate the loss: see what the disk reports",
				"bytes", m.AtMostBytes, "err", err)
		}
		j.raised.wakeAll()
	}
}

// handOver is Shelf.HandOver. The successor already receives, so the bound grows before this process ends. An adopted spool takes no
// records, and the life mark there is the last owner's.
func (j *journal) handOver() {
	if j.source != nil {
		return
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	_, _ = j.raise(context.Background(), func(m *lifeMark) bool {
		if m.Handed > 0 {
			return false
		}
		m.Handed = j.opts.MemoryBytes
		m.AtMostBytes += m.Handed
		return true
	})
}

// endLife removes the life mark after an orderly end. If it remains, the next Open recognizes it by the clean mark, which exists by
// now.
func (j *journal) endLife() error {
	if err := j.fs.Remove(j.path(lifeName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: remove the mark of this process: %w", err)
	}
	return nil
}

// readLife reads the life mark of a process that died. A damaged mark still shows that there was one.
func (r *recovery) readLife() error {
	m := new(lifeMark)
	switch err := r.s.persistState(r.s.path(lifeName), segment.MaxHeader, 1, m); statefile.AnswerTo(err) {
	case statefile.Loaded:
		r.life = m
	case statefile.Damaged:
		r.s.log.Warn("spool: cannot read the mark of the last process; the report assumes the largest loss that its memory allowed: see what the disk reports", "class", r.s.opts.Class, "err", err)
		r.life = &lifeMark{Version: 1, AtMostBytes: r.s.opts.MemoryBytes}
	case statefile.Refused:
		return err
	}
	return nil
}

// lostAtMost returns how many bytes the last process may have had in memory when it died, and since when it had the spool open;
// false if it did not die.
func (r *recovery) lostAtMost() (bytes int64, since time.Time, died bool) {
	switch {
	case r.clean != nil && r.clean.Handed > 0 && !r.s.opts.Successor:
		return r.clean.Handed, r.clean.Time, true // the successor died before it had the spool
	case r.clean != nil:
		return 0, since, false
	case r.life != nil && r.s.opts.Successor:
		return r.life.AtMostBytes - r.life.Handed, r.life.Since, true // this process still has what it was handed
	case r.life != nil:
		return r.life.AtMostBytes, r.life.Since, true
	}
	return r.s.opts.MemoryBytes, since, len(r.parts) > 0 || r.s.journal.taken > 0 || r.s.journal.ledger.Received != (segment.Tally{})
}

// orderlyEnd returns the time of the last process's orderly end, zero if it died.
func (r *recovery) orderlyEnd() (t time.Time) {
	if r.clean != nil {
		t = r.clean.Time
	}
	return t
}

// held returns how many bytes this process, if it is a successor, may already hold in memory. A predecessor that died before it
// handed over did not say it.
func (r *recovery) held() int64 {
	switch {
	case !r.s.opts.Successor:
		return 0
	case r.clean != nil:
		return r.clean.Handed
	case r.life != nil && r.life.Handed > 0:
		return r.life.Handed
	}
	return r.s.opts.MemoryBytes
}

// leastRecord is the smallest size of a record in memory.
var leastRecord = int64((&segment.Record{}).Size())
