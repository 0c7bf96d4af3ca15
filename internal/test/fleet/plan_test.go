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
			sum := 0.0
			for _, s := range p.Shares["udp-vpn"] {
				sum += s
			}
			if got := p.Shares["udp-vpn"][0] / sum * vpnShare / (1 + apartShare); got < 0.499 || got > 0.501 {
				t.Errorf("%s, seed %d: the source that sends half sends %.3f", name, seed, got)
			}
		}
	}
}
