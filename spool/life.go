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

// lifeMark is in the directory as long as a process has the spool open. It says, durably and before the first record is
// taken, how much that process may have in memory: only its own options tell, and the next process may have others.
type lifeMark struct {
	Version int       `json:"version"` // 1
	Since   time.Time `json:"since"`
	// AtMostBytes is the memory budget, or more once a larger batch was taken.
	AtMostBytes int64 `json:"at_most_bytes"`
	// Opening is the time of the mark of an orderly end that the process has found, until that one is removed, durably.
	Opening time.Time `json:"opening,omitzero"`
}

// outlives reports whether a mark of an orderly end that is beside it is not the last word: a process that began after that end
// came to a sudden one, and an older copy of the file has come back. A process that died while it opened the spool had nothing in
// memory; and a power cut can bring back the mark of a process that ended in order.
func (m *lifeMark) outlives(c *cleanMark) bool {
	return !m.Since.Equal(c.Life) && !m.Opening.Equal(c.Time)
}

// lifeBudget is how much may be in memory that a kill takes. journal.mu guards it.
type lifeBudget struct {
	noted   lifeMark  // in the directory, unless refused is set
	refused time.Time // when the disk refused to take noted; zero if it did not
	raising bool      // a goroutine writes a higher bound: see cover
	raised  waitList  // for the end of that
	handed  int64     // what a successor may hold in memory: see HandOver
}

// beginLife writes the mark of this process, j.noted. From here on no more than that says is in memory and not in the log. opening
// is the time of the mark of an orderly end that is there, if one is: once it is removed, markOpened follows.
func (j *journal) beginLife(handed int64, opening time.Time) error {
	j.noted = lifeMark{Version: 1, Since: j.opened.UTC(), AtMostBytes: j.opts.MemoryBytes + handed, Opening: opening}
	return j.writeLife(j.noted)
}

// markOpened ends the opening, before anything is received.
func (j *journal) markOpened() error {
	if j.noted.Opening.IsZero() {
		return nil
	}
	j.noted.Opening = time.Time{}
	return j.writeLife(j.noted)
}

func (j *journal) writeLife(m lifeMark) error {
	b, err := statefile.Seal(m)
	if err != nil {
		return err
	}
	return j.space.writeAtomic(j.path(lifeName), b)
}

// cover makes the mark cover so many bytes in memory, and reports whether j.mu, which is held at call and return, was given
// up for it. Batches above the budget are rare, so each doubles the bound. A disk that refuses is no reason to take nothing. Cancelling
// ctx ends a wait for another goroutine's write.
//
// One goroutine at a time raises the bound, and j.noted follows the attempt to write it. So nobody relies on a bound that is still being
// written, and a lower bound never replaces a higher one in the file. If the disk refuses, the bound holds in memory only, the log says
// so, and a later batch above the budget tries again.
func (j *journal) cover(ctx context.Context, bytes int64) (waited bool, err error) {
	for bytes > j.noted.AtMostBytes || !j.refused.IsZero() && time.Since(j.refused) >= retryEvery {
		waited = true
		if j.raising {
			if err := j.park(ctx, &j.raised, noMark); err != nil {
				return waited, err
			}
			continue
		}
		m := j.noted
		if bytes > m.AtMostBytes {
			m.AtMostBytes = 2 * bytes
		}
		j.raising = true
		j.mu.Unlock()
		err := j.writeLife(m)
		j.mu.Lock()
		j.raising = false
		j.noted, j.refused = m, time.Time{}
		if err != nil {
			j.refused = time.Now()
			j.logAgain(slog.LevelWarn, "spool: cannot record that a batch exceeds the memory budget; if the process is killed now, the next start may understate the loss: see what the disk reports",
				"bytes", m.AtMostBytes, "err", err)
		}
		j.raised.wakeAll()
	}
	return waited, nil
}

// endLife removes the mark after an orderly end. One that stays is known by the clean mark, which is there by now.
func (j *journal) endLife() error {
	if err := j.fs.Remove(j.path(lifeName)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: remove the mark of this process: %w", err)
	}
	return nil
}

// readLife reads the mark of a process that came to a sudden end. One that is damaged still says that there was one.
func (r *recovery) readLife() error {
	m := new(lifeMark)
	switch err := r.s.persistState(r.s.path(lifeName), segment.MaxHeader, 1, m); statefile.AnswerTo(err) {
	case statefile.Loaded:
		r.life = m
	case statefile.Damaged:
		r.s.log.Warn("spool: cannot read the mark of the last process; the report assumes the largest loss that its memory allowed: see what the disk reports", "class", r.s.opts.Class, "err", err)
		r.life = &lifeMark{AtMostBytes: r.s.opts.MemoryBytes}
	case statefile.Refused:
		return err
	}
	return nil
}

// lostAtMost returns what the last process, which came to a sudden end, may have had in memory, and since when there was
// one; false if there was none.
func (r *recovery) lostAtMost() (bytes int64, since time.Time, died bool) {
	switch {
	case r.clean != nil && r.clean.Handed > 0 && !r.s.opts.Successor:
		return r.clean.Handed, r.clean.Time, true // the successor died before it had the spool
	case r.clean != nil:
		return 0, since, false
	case r.life != nil:
		return r.life.AtMostBytes, r.life.Since, true
	}
	return r.s.opts.MemoryBytes, since, len(r.parts) > 0 || r.s.journal.taken > 0 || r.s.journal.ledger.Received != (segment.Tally{})
}

// orderlyEnd returns the time of the last process's orderly end, zero if it came to a sudden one.
func (r *recovery) orderlyEnd() (t time.Time) {
	if r.clean != nil {
		t = r.clean.Time
	}
	return t
}

// handed is what this process, a successor, holds in memory already.
func (r *recovery) handed() int64 {
	if r.clean != nil && r.s.opts.Successor {
		return r.clean.Handed
	}
	return 0
}

// leastRecord is what a record takes in memory at least.
var leastRecord = int64((&segment.Record{}).Size())
