package spool

import (
	"context"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
)

// flusher is the journal's timer. It writes offered records, starts the syncs of SyncInterval, writes the ledger when only
// that has changed, and retries a failing disk.
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
		case event != wait.Passed: // something may be due earlier now: only compute due again
		case due.IsZero():
			// A burst, or a disk that did not respond, may have made the queue use the whole budget.
			j.mu.Lock()
			j.tail.trim(1)
			j.mu.Unlock()
		default:
			j.flush()
		}
	}
}

// idleAfter is the time without work after which the memory of a burst is freed.
const idleAfter = 10 * time.Second

// due returns when the flusher has to act next, zero if it does not have to. j.mu is held.
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

// flush does the work that is due. It writes the offered records, and another goroutine syncs them, so that the next
// interval's records do not wait for this interval's sync.
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
		j.dirtySince = time.Time{} // the background sync is now responsible
		wake(j.syncKick)
	}
}

// backgroundSync syncs while other goroutines write. It is a separate goroutine because an fdatasync can take long, and
// must not delay the flusher.
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
