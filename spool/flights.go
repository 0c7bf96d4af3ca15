package spool

import (
	"context"
	"fmt"
	"sync"
)

// flights lets one goroutine at a time work on the staged file of a segment.
type flights struct {
	mu  sync.Mutex
	now map[uint64]chan struct{} // by segment; closed when the work on it ends
}

// enter waits until no other goroutine works on the segment, and reserves it for the caller.
func (f *flights) enter(ctx context.Context, n uint64) error {
	for {
		other := f.reserve(n)
		if other == nil {
			return nil
		}
		select {
		case <-other:
		case <-ctx.Done():
			return fmt.Errorf("spool: %w", context.Cause(ctx))
		}
	}
}

// tryEnter is enter for a caller that does not wait.
func (f *flights) tryEnter(n uint64) bool { return f.reserve(n) == nil }

// reserve reserves the segment, or returns the channel of the goroutine that has it.
func (f *flights) reserve(n uint64) (other chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if other = f.now[n]; other != nil {
		return other
	}
	if f.now == nil {
		f.now = map[uint64]chan struct{}{}
	}
	f.now[n] = make(chan struct{})
	return nil
}

// leave ends the reservation.
func (f *flights) leave(n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.now[n])
	delete(f.now, n)
}
