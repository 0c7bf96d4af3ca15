package spool

import (
	"fmt"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// retire ends an active segment whose file has failed: it ends where its last good sync was, and what was written behind
// that, all of which is still in memory, is written again to the next one. j.mu is held, and the writer role.
func (j *journal) retire() {
	a := j.active
	if a == nil || !a.failed.Load() {
		return
	}
	// Those who were told that their records are kept were told so after write(2). That held while the process lived, and
	// it holds on: what the file lost is written again before anything that came later.
	j.tail.rewind()
	j.place = j.placed
	j.lastEnd = *j.ledgerAt(j.place)
	j.ended(a, true)
}

// fail makes the spool refuse appends until a later try succeeds; a full disk is treated like a quota that is used up.
// Records that were taken stay in memory. Reading and shipping go on. j.mu is held.
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

// writable takes appends again. j.mu is held.
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
