package ingest

import (
	"context"
	"sync"
)

// budget bounds the memory of the large buffers of a listener. A taker asks for all it needs at once and holds nothing
// while it waits, so takers cannot block each other.
type budget struct {
	mu   sync.Mutex
	free int64
	wake chan struct{} // closed when something was given back
}

func newBudget(bytes int64) *budget { return &budget{free: bytes, wake: make(chan struct{})} }

// take waits until n bytes are free, in no particular order: a taker that is woken competes again. It returns ctx.Err() if ctx ends first.
func (b *budget) take(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.free >= n {
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
