package status

import (
	"math"
	"time"
)

const (
	// step is the time from one point of the history to the next, span the length of the history.
	step = 10 * time.Second
	span = time.Hour
)

// ring has the points of the last hour, in memory that stops growing.
type ring[T any] struct {
	points []T
	next   int // index of the oldest point, which the next one replaces once the ring is full
}

// add adds a point.
func (r *ring[T]) add(p T) {
	if len(r.points) <= int(span/step) { // one more, for the beginning of the first step
		r.points = append(r.points, p)
		return
	}
	r.points[r.next] = p
	r.next = (r.next + 1) % len(r.points)
}

func (r *ring[T]) len() int { return len(r.points) }

// at returns a point; 0 is the oldest.
func (r *ring[T]) at(i int) *T { return &r.points[(r.next+i)%len(r.points)] }

// last returns the newest point, nil if there is none.
func (r *ring[T]) last() *T {
	if r.len() == 0 {
		return nil
	}
	return r.at(r.len() - 1)
}

// slope returns the trend of a fluctuating value, as the slope of the line that fits the points best (least squares), in
// units per second. NaN is an unknown value. ok is false if too few values are known.
func slope[T any](r *ring[T], window time.Duration, value func(*T) (at time.Duration, v float64)) (perSecond float64, ok bool) {
	if r.len() == 0 {
		return 0, false
	}
	end, y0 := value(r.last()) // the origin: products of large numbers would lose digits
	var n, sx, sy, sxx, sxy float64
	for i := r.len() - 1; i >= 0; i-- {
		at, v := value(r.at(i))
		if end-at > window {
			break
		}
		if math.IsNaN(v) {
			continue
		}
		x, y := (at - end).Seconds(), v-y0
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	d := n*sxx - sx*sx
	if n < 4 || d == 0 || math.IsNaN(y0) {
		return 0, false
	}
	return (n*sxy - sx*sy) / d, true
}
