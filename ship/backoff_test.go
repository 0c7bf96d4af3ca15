package ship

import (
	"math"
	"testing"
	"time"
)

func TestBackoff(t *testing.T) {
	const almost = 1 - 1e-9
	for _, c := range []struct {
		attempt  int
		rnd      float64
		min, max time.Duration
	}{
		{1, 0, 100 * time.Millisecond, 100 * time.Millisecond},
		{1, almost, 199 * time.Millisecond, 200 * time.Millisecond},
		{3, almost, 799 * time.Millisecond, 800 * time.Millisecond},
		{8, almost, 25 * time.Second, 25600 * time.Millisecond},
		{9, almost, 29 * time.Second, 30 * time.Second},
		{math.MaxInt, almost, 29 * time.Second, 30 * time.Second},
		{math.MaxInt, 0, 100 * time.Millisecond, 100 * time.Millisecond},
		{0, almost, 100 * time.Millisecond, 200 * time.Millisecond},
		{-5, 0.5, 100 * time.Millisecond, 200 * time.Millisecond},
	} {
		if d := Backoff(c.attempt, c.rnd); d < c.min || d > c.max {
			t.Errorf("Backoff(%d, %v) = %v, want %v to %v", c.attempt, c.rnd, d, c.min, c.max)
		}
	}
}
