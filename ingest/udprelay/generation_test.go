package udprelay

import (
	"strings"
	"testing"
	"time"
)

// TestSchedule: over hours, restarts and a table of another process, no port is used again before it has rested.
func TestSchedule(t *testing.T) {
	p := Ports{}.withDefaults()
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	last := make([]time.Time, p.Generations)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	s := newSchedule(p, now)
	newest := -1 // continuing with the newest generation after a pause is not a new use
	use := func() {
		g := s.pick(now)
		if rest := now.Sub(last[g]); g != newest && !last[g].IsZero() && rest <= p.Forgets {
			t.Fatalf("%v: generation %d is used again after %v", now, g, rest)
		}
		last[g], newest = now, g
	}
	changes := 0
	for i := range 20000 {
		before := s.at
		use()
		if before >= 0 && s.at != before {
			changes++
		}
		now = now.Add(time.Second)
		switch {
		case i%3001 == 3000: // killed; the kernel continues with the table until the next process finds it
			away := time.Duration(i%7) * 47 * time.Second
			for range int(away / time.Second) {
				last[s.at] = now
				now = now.Add(time.Second)
			}
			first := p.first(s.at)
			s = newSchedule(p, now)
			s.found(first, first+p.Count-1, now)
		case i%4001 == 4000: // ended gracefully, and started again
			now = now.Add(10 * time.Second)
			s = newSchedule(p, now)
		}
	}
	if changes < 100 {
		t.Errorf("%d new generations in 20,000 s", changes)
	}
}

// TestScheduleOther: ports of a table with other settings rest too.
func TestScheduleOther(t *testing.T) {
	p := Ports{}.withDefaults()
	now := time.Unix(1_700_000_100, 0)
	s := newSchedule(p, now)
	s.found(p.first(0)+100, p.first(0)+9000, now)
	if g := s.pick(now); g != 1 {
		t.Errorf("generation %d begins, of which ports are in use", g)
	}
}

func TestPorts(t *testing.T) {
	for _, c := range []struct {
		p    Ports
		want string
	}{
		{Ports{First: 80}, "First"},
		{Ports{Count: 4096}, "Count"},
		{Ports{Generations: 1}, "Generations"},
		{Ports{Generations: 3}, "after the last port"},
		{Ports{Every: 120 * time.Second}, "raise Every"},
		{Ports{Every: -1}, "positive"},
	} {
		if err := c.p.Check(); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v: %v", c.p, err)
		}
	}
	if err := (Ports{Count: 8192, Generations: 4, Every: 41 * time.Second}).Check(); err != nil {
		t.Error(err)
	}
	if err := (&Options{Listen: addrs("224.0.0.1:514", "10.0.0.1:514", "10.0.0.1:514"), Table: "a b", Mode: Generations, Ports: Ports{Count: 1}}).validate(); err == nil ||
		strings.Count(err.Error(), "\n") != 3 {
		t.Errorf("not all mistakes are named: %v", err)
	}
}
