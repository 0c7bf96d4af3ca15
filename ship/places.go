package ship

import "context"

const (
	// smallSegment is the largest size in bytes of a small segment, which costs its destination round trips rather than
	// bandwidth.
	smallSegment = 1 << 20
	// smallPerWorker is how many small uploads count as one large one. With a round trip of 0.6 s, even the smallest upload
	// takes seconds, and a drain after a quiet hour has many small segments and only a minute.
	smallPerWorker = 8
)

// weight returns how many places a segment of this size takes.
func weight[T int64 | uint64](bytes T) int {
	if bytes <= smallSegment {
		return 1
	}
	return smallPerWorker
}

func weights(window []*delivery) (sum int) {
	for _, d := range window {
		sum += weight(d.seg.Bytes)
	}
	return sum
}

// places bounds how many tasks run at the same time: one large task for each worker, or smallPerWorker small ones instead.
// Only one goroutine enters tasks, in the order in which they are due. So small tasks cannot overtake a large one
// indefinitely, and two waiting tasks cannot each hold half of the places that they need.
type places chan struct{}

func newPlaces(workers int) places { return make(places, workers*smallPerWorker) }

// enter waits for room; false: ctx has ended.
func (p places) enter(ctx context.Context, weight int) bool {
	for range weight {
		select {
		case p <- struct{}{}:
		case <-ctx.Done():
			return false // all users of these places end with ctx
		}
	}
	return true
}

func (p places) leave(weight int) {
	for range weight {
		<-p
	}
}
