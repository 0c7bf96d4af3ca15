package hist

import (
	"math"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestBuckets(t *testing.T) {
	h := New(time.Millisecond)
	for _, d := range []time.Duration{-1, 0, time.Millisecond, time.Millisecond + 1, 2 * time.Millisecond, 32768 * time.Millisecond, 32769 * time.Millisecond, math.MaxInt64 / 2} {
		h.Add(d)
	}
	s := h.Snapshot()
	want := make([]uint64, Bounds+1)
	want[0], want[1], want[Bounds-1], want[Bounds] = 3, 2, 1, 2
	if !slices.Equal(s.Counts, want) {
		t.Errorf("counts %v, want %v", s.Counts, want)
	}
	if s.Bounds[0] != time.Millisecond || s.Bounds[Bounds-1] != 32768*time.Millisecond {
		t.Errorf("bounds %v", s.Bounds)
	}
	var none *Histogram
	none.Add(1)
	if s := none.Snapshot(); s.Counts != nil {
		t.Error("a nil Histogram has counted")
	}
}

// TestConcurrent: no count is lost between goroutines.
func TestConcurrent(t *testing.T) {
	h := New(time.Microsecond)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 1000 {
				h.Add(time.Microsecond)
			}
		})
	}
	wg.Wait()
	if s := h.Snapshot(); s.Counts[0] != 4000 || s.Sum != 4000*time.Microsecond {
		t.Errorf("%v", s)
	}
}

func TestNoAllocation(t *testing.T) {
	h := New(time.Microsecond)
	if n := testing.AllocsPerRun(100, func() { h.Since(Now()) }); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkAdd(b *testing.B) {
	h := New(125 * time.Microsecond)
	for b.Loop() {
		h.Since(Now())
	}
}
