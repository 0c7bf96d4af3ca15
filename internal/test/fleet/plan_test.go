//go:build linux

package fleet

import (
	"reflect"
	"testing"
)

// TestPlan: a seed decides everything, and another seed decides otherwise.
func TestPlan(t *testing.T) {
	for name, f := range forms {
		for seed := range uint64(50) {
			p := newPlan(seed, f)
			if !reflect.DeepEqual(p, newPlan(seed, f)) {
				t.Fatalf("%s, seed %d: two plans", name, seed)
			}
			if reflect.DeepEqual(p, newPlan(seed+1, f)) {
				t.Fatalf("%s: the seeds %d and %d have one plan", name, seed, seed+1)
			}
			if p.Victim == p.Adopter || len(p.Leave) != 5 || len(p.Upgrade) != 10 {
				t.Errorf("%s, seed %d: %v", name, seed, p)
			}
		}
	}
	sum := 0.0
	for _, f := range fronts {
		if isUDP(f.name) {
			sum += shareOf(f.name)
		}
	}
	if half := shareOf(heavyName) / sum; half < 0.499 || half > 0.501 || sum < 1.099 || sum > 1.101 {
		t.Errorf("the source that sends half sends %.3f; together %.3f", half, sum)
	}
}
