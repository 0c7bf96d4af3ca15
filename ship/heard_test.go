package ship

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestHeard: a manifest with an impossible time neither makes its owner look silent for centuries nor makes an adopter wait
// for centuries.
func TestHeard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		for written, want := range map[time.Time]time.Duration{
			now.Add(-time.Hour):           time.Hour,
			now:                           0,
			now.Add(365 * 24 * time.Hour): 0,
			time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC): 0,
			time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC): 0,
		} {
			if silent := now.Sub(time.Unix(0, heard(written))); silent != want {
				t.Errorf("written %v: silent for %v, want %v", written, silent, want)
			}
		}
	})
}
