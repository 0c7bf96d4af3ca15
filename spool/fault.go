package spool

import (
	"fmt"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// retire ends an active segment whose file has failed. It ends at its last good sync. All records written after that are still in
// memory, and are written again to the next segment. j.mu is held, and the writer role.
func (j *journal) retire() {
	a := j.active
	if a == nil || !a.failed.Load() {
		return
	}
	// Callers were told after write(2) that their records are kept. That remains true: while the process lives the records are in
	// memory, and they are written again before any later record.
	j.tail.rewind()
	j.place = j.placed
	j.lastEnd = *j.ledgerAt(j.place)
	j.ended(a, true)
}

// fail makes the spool refuse appends until a later attempt succeeds; a full disk is treated like a used-up quota.
// Accepted records stay in memory. Reading and shipping continue. j.mu is held.
func (j *journal) fail(err error) {
	if j.failed == nil {
		j.log.Error("spool: cannot write to the disk; appends are refused until it works again, and it is tried each second: see what the disk reports", "class", j.opts.Class, "err", err)
	}
	j.failed = fmt.Errorf("%w: %w", ErrFailing, err)
	j.noSpace = vfs.IsNoSpace(err)
	j.retryAt = time.Now().Add(retryEvery)
	j.writer.waiting.wakeAll()
	j.syncer.waiting.wakeAll()
	j.room.wakeAll()
	j.changed.Broadcast()
	wake(j.kick)
}

// writable accepts appends again. j.mu is held.
func (j *journal) writable() {
	if j.failed == nil {
		return
	}
	j.log.Info("spool: the disk accepts writes again; appends continue, and what waited in memory is written", "class", j.opts.Class)
	j.failed, j.noSpace = nil, false
	j.writer.waiting.wakeAll()
	j.syncer.waiting.wakeAll()
	j.room.wakeAll()
	j.changed.Broadcast()
}
