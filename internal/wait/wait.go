package wait

import (
	"context"
	"time"
)

// Sleep returns nil after d, or ctx.Err() as soon as ctx ends. If both have happened, it returns ctx.Err().
func Sleep(ctx context.Context, d time.Duration) error {
	_, err := For(ctx, d)
	return err
}

// Passed is the event that For returns if d has passed or ctx has ended.
const Passed = -1

// For waits until d has passed, ctx has ended, or one of the channels is closed or delivers a value. There may be at most two
// channels; a nil channel never delivers. For returns the index of the channel that ended the wait, otherwise Passed. The error
// is ctx.Err(), which is checked last: if it is nil, the caller may continue.
func For(ctx context.Context, d time.Duration, events ...<-chan struct{}) (event int, err error) {
	var c [2]<-chan struct{}
	if copy(c[:], events) < len(events) {
		panic("wait: For takes two channels at most")
	}
	t := time.NewTimer(d)
	defer t.Stop()
	event = Passed
	select {
	case <-c[0]:
		event = 0
	case <-c[1]:
		event = 1
	case <-t.C:
	case <-ctx.Done():
	}
	return event, ctx.Err()
}

// Receive waits at most d for a value of c, or for c to be closed. ok is false if the time passed or ctx ended first.
func Receive[T any](ctx context.Context, d time.Duration, c <-chan T) (v T, ok bool) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case v = <-c:
		return v, true
	case <-t.C:
	case <-ctx.Done():
	}
	return v, false
}
