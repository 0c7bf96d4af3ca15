package ingest

import (
	"context"
	"sync"

	"github.com/penstock-go/penstock/internal/wait"
)

// budget bounds the memory of a listener's large buffers, by the listener's own limit and by its share of the process's
// memory. A goroutine acquires all that it needs at once and holds nothing while it waits, so goroutines cannot deadlock.
type budget struct {
	bytes int64
	most  func() int64 // changes with the number of listeners
	freed wait.Signal

	mu   sync.Mutex
	free int64
}

func newBudget(bytes int64, most func() int64) *budget {
	return &budget{bytes: bytes, most: most, free: bytes}
}

// acquire waits until n bytes are free, in no particular order: a goroutine that is woken competes again. It returns
// ctx.Err() if ctx ends first.
func (b *budget) acquire(ctx context.Context, n int64) error {
	for {
		freed := b.freed.Next()
		if b.tryAcquire(n) {
			return nil
		}
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// tryAcquire takes n bytes if they are free.
func (b *budget) tryAcquire(n int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.fits(n) {
		return false
	}
	b.free -= n
	return true
}

// fits reports whether n bytes may be taken. A single taker may exceed the share: a frame that is larger than the share
// would otherwise wait indefinitely. b.mu is held.
func (b *budget) fits(n int64) bool {
	used := b.bytes - b.free
	return b.free >= n && (used == 0 || used+n <= b.most())
}

// release gives bytes back and wakes all goroutines that wait: several small requests may fit.
func (b *budget) release(n int64) {
	b.mu.Lock()
	b.free += n
	b.mu.Unlock()
	b.freed.Broadcast()
}
