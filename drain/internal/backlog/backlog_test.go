package backlog

import "testing"

func TestLarge(t *testing.T) {
	on := false
	for _, step := range []struct {
		pending uint64
		want    bool
	}{{0, false}, {100, false}, {101, true}, {60, true}, {51, true}, {50, false}, {99, false}} {
		if on = Large(on, step.pending, 100); on != step.want {
			t.Errorf("%d: %v", step.pending, on)
		}
	}
	if Large(false, 0, 0) || !Large(false, 1, 0) || !Large(true, 1, 0) || Large(true, 0, 0) {
		t.Error("a bound of nothing")
	}
}
