package ship

import (
	"testing"
	"time"
)

func TestMeter(t *testing.T) {
	var m meter
	now := time.Unix(0, 0)
	if m.perSecond(now) != 0 {
		t.Error("moves before anything has moved")
	}
	// 1000 units every second: the rate must be right from the beginning, not only once the mean has settled.
	for range 300 {
		m.add(1000, now)
		now = now.Add(time.Second)
		if r := m.perSecond(now); r < 900 || r > 1100 {
			t.Fatalf("%v a second after %v", r, now.Sub(time.Unix(0, 0)))
		}
	}
	if r := m.perSecond(now.Add(10 * time.Minute)); r > 1 {
		t.Errorf("%v a second after ten idle minutes", r)
	}
}
