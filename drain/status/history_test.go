package status

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestRing: a ring has the newest points of an hour, in order, and stops growing.
func TestRing(t *testing.T) {
	var r ring[int]
	const most = int(span/step) + 1
	for i := range 3*most + 7 {
		r.add(i)
		if want := min(i+1, most); r.len() != want {
			t.Fatalf("%d points after %d, want %d", r.len(), i+1, want)
		}
		if *r.last() != i || *r.at(0) != max(0, i-most+1) {
			t.Fatalf("after %d: from %d to %d", i, *r.at(0), *r.last())
		}
	}
}

// TestSlope: the trend of a value that rises in steps is that of the line through them; unknown values are left out.
func TestSlope(t *testing.T) {
	type point struct {
		at time.Duration
		v  float64
	}
	value := func(p *point) (time.Duration, float64) { return p.at, p.v }
	var r ring[point]
	for i := range 4 {
		if _, ok := slope(&r, time.Hour, value); ok {
			t.Errorf("%d points tell a trend", i)
		}
		r.add(point{time.Duration(i) * step, math.NaN()})
	}
	for i := range 60 {
		r.add(point{time.Duration(i+4) * step, 1e12 + float64(i/3)*3e6}) // 3 MB each 30 s
	}
	if got, ok := slope(&r, time.Hour, value); !ok || math.Abs(got-1e5) > 1e3 {
		t.Errorf("slope %v %v, want 100 kB/s", got, ok)
	}
}

// TestHistory: rates, trends and losses come from the points of the last hour.
func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		down := true
		s := newService(t, func(shiptest.Call) shiptest.Fault {
			if down {
				return shiptest.FailBefore(errTest)
			}
			return shiptest.Fault{}
		})
		s.run()
		time.Sleep(step / 2)
		if c := s.watch.Snapshot().Classes[0]; c.Kept.Records == nil || *c.Kept.Records != 0 || c.Spool.UntilFull != nil {
			t.Errorf("at the start: %+v", c)
		}
		for range 90 { // 15 minutes
			s.append(1000, 100)
			time.Sleep(step)
		}
		snap := s.watch.Snapshot()
		c := snap.Classes[0]
		near := func(what string, got *float64, want, within float64) {
			t.Helper()
			if got == nil || math.Abs(*got-want) > within {
				v := math.NaN()
				if got != nil {
					v = *got
				}
				t.Errorf("%s: %v, want %v", what, v, want)
			}
		}
		near("kept records/s", c.Kept.Records, 100, 60) // a whole batch is counted in one step or in the next
		s3 := c.Destinations[1]
		near("lag", s3.Lag, 900, 20)
		if s3.UntilEmpty != nil {
			t.Errorf("a growing backlog will be empty in %v s", *s3.UntilEmpty)
		}
		grow := float64(c.Spool.Used) / 900
		near("until full", c.Spool.UntilFull, float64(c.Spool.Quota-c.Spool.Used)/grow, 0.3*float64(c.Spool.Quota)/grow)

		s.sp.Intake().Account(segment.Account{Received: segment.Tally{Records: 7}, Lost: segment.Losses{segment.KernelOverflow: {Records: 7, BytesUnknown: true}}})
		snap = s.watch.Snapshot()
		if l := snap.Classes[0].LostLastHour[segment.KernelOverflow]; l.Records != 7 || snap.State != Error {
			t.Errorf("lost in the last hour: %+v, state %s", l, snap.State)
		}
		time.Sleep(span + 2*step)
		if l := s.watch.Snapshot().Classes[0].LostLastHour; l.Total().Records != 0 {
			t.Errorf("a loss of more than an hour ago is lost in the last hour: %+v", l)
		}
		h := s.watch.course()
		points := h.Classes[0].Points
		if len(points) != int(span/step) || len(points[0].Destinations) != 2 || points[0].Destinations["s3"].Pending.Records != 90_000 {
			t.Errorf("%d points, the first %+v", len(points), points[0])
		}
		down = false
		s.stop()
	})
}
