package ship

import "context"

const (
	// smallSegment is up to how many bytes a segment is small: it costs its destination round trips, not bandwidth.
	smallSegment = 1 << 20
	// smallPerWorker is how many small uploads take the place of a large one. Over a line of 0.6 s an upload takes seconds
	// however small it is, and a drain that comes after a quiet hour has many small segments and a minute.
	smallPerWorker = 8
)

// weight is what a segment of so many bytes takes of the places.
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

// places bounds what is under way at the same time: so many large things, or smallPerWorker times as many small ones. One
// goroutine enters, in the order in which things are due, so that the large ones cannot be passed by small ones indefinitely, and
// two that wait cannot hold half of what they need each.
type places chan struct{}

func newPlaces(workers int) places { return make(places, workers*smallPerWorker) }

// enter waits for room; false: ctx has ended.
func (p places) enter(ctx context.Context, weight int) bool {
	for range weight {
		select {
		case p <- struct{}{}:
		case <-ctx.Done():
			return false // whoever uses these places ends too
		}
	}
	return true
}

func (p places) leave(weight int) {
	for range weight {
		<-p
	}
}
