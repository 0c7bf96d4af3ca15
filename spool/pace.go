package spool

import (
	"context"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
)

// flusher is the journal's clock. It writes what was offered, starts the syncs of SyncInterval, writes the ledger when only
// that has changed, and tries a failing disk again.
func (j *journal) flusher(ctx context.Context) {
	for {
		j.mu.Lock()
		due := j.due()
		j.mu.Unlock()
		left := idleAfter
		if !due.IsZero() {
			left = time.Until(due)
		}
		event, err := wait.For(ctx, left, j.kick)
		switch {
		case err != nil:
			return
		case event != wait.Passed: // something may be due earlier now; nothing is done sooner for it
		case due.IsZero():
			// A burst, or a disk that did not respond, may have taken the whole budget.
			j.mu.Lock()
			j.tail.trim(1)
			j.mu.Unlock()
		default:
			j.flush()
		}
	}
}

// idleAfter is after how long without work the memory of a burst is given back.
const idleAfter = 10 * time.Second

// due returns when the flusher has to act next, zero for not at all. j.mu is held.
func (j *journal) due() (t time.Time) {
	if j.failed != nil {
		return j.retryAt
	}
	if j.urgent {
		return time.Unix(0, 0) // long ago
	}
	earlier := func(u time.Time) {
		if t.IsZero() || u.Before(t) {
			t = u
		}
	}
	if !j.pendingSince.IsZero() {
		earlier(j.pendingSince.Add(j.opts.SyncInterval))
	}
	if !j.dirtySince.IsZero() {
		earlier(j.dirtySince.Add(j.opts.SyncInterval))
	}
	if j.ledgerDirty {
		earlier(j.ledgerTime.Add(ledgerEvery))
	}
	return t
}

// flush does what is due. What was offered is written first and synced afterwards by another goroutine, so that the next
// interval's records do not wait for this one's sync.
func (j *journal) flush() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.failed != nil || j.urgent || j.opts.Sync == SyncAlways {
		j.urgent = false
		j.acquire(&j.syncer)
		j.mu.Unlock()
		_ = j.gather()
		j.writeOut()
		j.sync()
		j.mu.Lock()
		j.release(&j.syncer)
		return
	}
	now := time.Now()
	if j.ledgerDirty && now.Sub(j.ledgerTime) >= ledgerEvery || !j.pendingSince.IsZero() {
		j.acquire(&j.writer)
		j.mu.Unlock()
		j.write()
		j.mu.Lock()
		j.release(&j.writer)
	}
	if j.opts.Sync == SyncInterval && !j.dirtySince.IsZero() {
		j.dirtySince = time.Time{} // from here on the background sync's affair
		wake(j.syncKick)
	}
}

// backgroundSync syncs while others go on writing. It has a goroutine of its own since an fdatasync can take long, and
// the flusher must not miss its next turn.
func (j *journal) backgroundSync(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-j.syncKick:
		}
		j.mu.Lock()
		j.acquire(&j.syncer)
		j.mu.Unlock()
		j.sync()
		j.mu.Lock()
		j.release(&j.syncer)
		j.mu.Unlock()
	}
}
