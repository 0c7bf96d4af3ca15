//go:build linux

package fleet

import (
	"testing"
	"time"
)

// TestRates: the busiest time is found, also if a sample is late.
func TestRates(t *testing.T) {
	var r rates
	at, sent := time.Unix(1000, 0), uint64(0)
	for i, n := range []uint64{10, 10, 100, 100, 100, 100, 300, 10, 10} {
		at, sent = at.Add(time.Second), sent+n
		if i == 6 {
			at = at.Add(time.Second) // 300 in two seconds
		}
		r = append(r, sentBy{at, sent})
	}
	if got := r.most(5 * time.Second); got != 600.0/5 {
		t.Error(got)
	}
	if got := r.most(time.Minute); got != 0 {
		t.Error("of no minute: ", got)
	}
}
