//go:build linux

package fleet

import (
	"sync/atomic"
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

// TestBursts: a burst that a flood has suppressed, or in which nothing was sent, has not happened.
func TestBursts(t *testing.T) {
	begun := time.Unix(1000, 0)
	bursts := []Burst{{At: time.Second, For: time.Second, Times: 2}, {At: 3 * time.Second, For: time.Second, Times: 2}, {At: 5 * time.Second, For: time.Second, Times: 2}}
	r := &Run{plan: &Plan{Bursts: bursts}, events: map[string]int{}}
	for _, run := range []string{"udp-vpn", "udp-internet"} {
		r.feeds = append(r.feeds, &Feed{Run: run, bursts: bursts, burst: make([]atomic.Bool, len(bursts)), begun: begun})
	}
	r.feeds = append(r.feeds, &Feed{Run: "udp-apart"}, &Feed{Run: "tcp-vpn", bursts: bursts, burst: make([]atomic.Bool, len(bursts)), begun: begun})
	rest := 0.0
	for i, f := range r.feeds {
		f.rate.Store(1000)
		for ms := 0; ms < 6000; ms += 50 {
			at := begun.Add(time.Duration(ms) * time.Millisecond)
			f.noBursts.Store(ms >= 3000 && ms < 4500)
			if i == 1 && ms >= 5000 {
				f.rate.Store(0)
			}
			f.due(at.Add(-50*time.Millisecond), at, &rest)
		}
	}
	if r.countBursts(); r.events["burst"] != 1 {
		t.Errorf("%d bursts happened, want the first one", r.events["burst"])
	}
}
