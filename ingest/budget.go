package ingest

import (
	"context"
	"sync"
)

// budget bounds the memory of the large buffers of a listener, and by most its share of the process's. A taker asks for all it needs at once and holds nothing
// while it waits, so takers cannot block each other.
type budget struct {
	bytes int64
	most  func() int64 // changes with the number of listeners

	mu   sync.Mutex
	free int64
	wake chan struct{} // closed when something was given back
}

func newBudget(bytes int64, most func() int64) *budget {
	return &budget{bytes: bytes, most: most, free: bytes, wake: make(chan struct{})}
}

// fits reports whether n bytes may be taken. One taker has its way whatever its share: it would never have it otherwise.
// b.mu is held.
func (b *budget) fits(n int64) bool {
	used := b.bytes - b.free
	return b.free >= n && (used == 0 || used+n <= b.most())
}

// take waits until n bytes are free, in no particular order: a taker that is woken competes again. It returns ctx.Err() if ctx ends first.
func (b *budget) take(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.fits(n) {
			b.free -= n
			b.mu.Unlock()
			return nil
		}
		wake := b.wake
		b.mu.Unlock()
		select {
		case <-wake:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// give returns bytes and wakes up all takers: several small ones may fit.
func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	close(b.wake)
	b.wake = make(chan struct{})
}
