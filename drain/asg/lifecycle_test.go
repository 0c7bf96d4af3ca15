package asg_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/spool/segment"
)

func lifecycle(t *testing.T, g *draintest.Group, i *draintest.Instance) *asg.Lifecycle {
	t.Helper()
	l, err := asg.New(&asg.Options{Metadata: i, Service: g})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func complete() *drain.Report {
	return &drain.Report{Intent: drain.Drain, Outcome: drain.Delivered, Classes: map[string]drain.ClassReport{
		"vpn": {Destinations: map[string]drain.DestinationReport{"s3": {Verified: true}}},
	}}
}

// drive calls Update each second as a Drainer does.
func drive(ctx context.Context, l *asg.Lifecycle) {
	for tick := time.NewTicker(time.Second); ctx.Err() == nil; {
		l.Update(ctx, drain.Status{Phase: "ship"})
		select {
		case <-tick.C:
		case <-ctx.Done():
			tick.Stop()
		}
	}
}

// TestTwoDays: over the 48 hours that a hook can wait, with an API that fails every third time, no two heartbeats are more
// than half the timeout apart, and none less than a sixth. The clock is simulated; the log has the real duration.
func TestTwoDays(t *testing.T) {
	real := time.Now()
	defer func() { t.Logf("two days took %v", time.Since(real)) }()
	synctest.Test(t, func(t *testing.T) {
		calls := 0
		g := draintest.NewGroup(&draintest.GroupOptions{Deregistration: 5 * time.Minute, Fault: func(string) error {
			if calls++; calls%3 == 0 {
				return errors.New("503 Slow Down")
			}
			return nil
		}})
		i := g.Launch()
		l := lifecycle(t, g, i)
		i.Terminate()
		for goes := false; !goes; _, goes, _ = l.Notice(t.Context()) {
		}
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 48*time.Hour)
		defer cancel()
		drive(ctx, l)
		if s := i.State(); s != "Terminating:Wait" {
			t.Fatalf("after %v: %s", time.Since(begin), s)
		}
		last, n := begin.Add(5*time.Minute), 0
		for _, c := range i.Calls() {
			if c.Err != nil {
				continue
			}
			if gap := c.Time.Sub(last); gap > 15*time.Minute || n > 0 && gap < 5*time.Minute {
				t.Errorf("heartbeat %d after %v", n, gap)
			}
			last, n = c.Time, n+1
		}
		if n < 287 || n > 400 {
			t.Errorf("%d heartbeats", n)
		}
		if retained, err := l.Finish(t.Context(), complete()); err != nil || retained || i.State() != "Terminating:Proceed" {
			t.Errorf("retained %v, %v, %s", retained, err, i.State())
		}
	})
}

// TestAnswers: CONTINUE for a verified drain, ABANDON for any other, no answer from an instance that is not taken away.
func TestAnswers(t *testing.T) {
	change := func(f func(r *drain.Report, c *drain.ClassReport)) *drain.Report {
		r := complete()
		c := r.Classes["vpn"]
		f(r, &c)
		r.Classes["vpn"] = c
		return r
	}
	for name, tc := range map[string]struct {
		r    *drain.Report
		want asg.Answer
	}{
		"complete":   {complete(), asg.Continue},
		"incomplete": {change(func(r *drain.Report, _ *drain.ClassReport) { r.Outcome = drain.Incomplete }), asg.Abandon},
		"mismatch":   {change(func(r *drain.Report, _ *drain.ClassReport) { r.Outcome = drain.Mismatch }), asg.Abandon},
		"kept":       {change(func(r *drain.Report, _ *drain.ClassReport) { r.Outcome = drain.Stopped }), asg.Abandon},
		"stopped":    {change(func(r *drain.Report, _ *drain.ClassReport) { r.Intent = drain.Stop }), ""},
		"unverified": {change(func(_ *drain.Report, c *drain.ClassReport) { c.Destinations["s3"] = drain.DestinationReport{} }), asg.Abandon},
		"error":      {change(func(_ *drain.Report, c *drain.ClassReport) { c.Err = "down" }), asg.Abandon},
		"buffered":   {change(func(_ *drain.Report, c *drain.ClassReport) { c.Buffered = segment.Tally{Records: 1} }), asg.Abandon},
		"left":       {change(func(r *drain.Report, _ *drain.ClassReport) { r.Left = make([]drain.Leftover, 1) }), asg.Abandon},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := draintest.NewGroup(nil)
				i := g.Launch()
				l := lifecycle(t, g, i)
				if retained, err := l.Finish(t.Context(), tc.r); err != nil || retained || len(i.Calls()) > 0 {
					t.Errorf("in service: retained %v, %v, %+v", retained, err, i.Calls())
				}
				i.Terminate()
				retained, err := l.Finish(t.Context(), tc.r)
				if answer, expired := i.Answered(); err != nil || answer != tc.want || expired || retained != (tc.want == asg.Abandon) {
					t.Errorf("answered %q, retained %v, %v", answer, retained, err)
				}
			})
		})
	}
}

// TestCompleteWaits: the answer is repeated during deregistration from the load balancers, is given up if it is of no
// use, and ends with its context.
func TestCompleteWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := draintest.NewGroup(&draintest.GroupOptions{Deregistration: 40 * time.Minute})
		i := g.Launch()
		l := lifecycle(t, g, i)
		i.Terminate()
		begin := time.Now()
		if _, err := l.Finish(t.Context(), complete()); err != nil {
			t.Fatal(err)
		}
		if answer, _ := i.Answered(); answer != asg.Continue || time.Since(begin) > 41*time.Minute {
			t.Errorf("answered %q after %v", answer, time.Since(begin))
		}

		// The hook's time is up: ABANDON is too late, CONTINUE is what happens anyway.
		late := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Minute, DefaultResult: asg.Continue})
		for _, r := range []*drain.Report{complete(), {Intent: drain.Drain, Outcome: drain.Incomplete}} {
			i := late.Launch()
			l := lifecycle(t, late, i)
			i.Terminate()
			time.Sleep(65 * time.Second) // simulated
			begin, most := time.Now(), time.Duration(0)
			if r.Outcome != drain.Delivered {
				most = 5 * time.Second // the time to find out that Terminating:Proceed does not lead to Terminating:Retained
			}
			if retained, err := l.Finish(t.Context(), r); retained || (err == nil) != (most == 0) || time.Since(begin) > most || len(i.Calls()) > 0 {
				t.Errorf("%s too late, in %s: %v after %v and %d calls", r.Outcome, i.State(), err, time.Since(begin), len(i.Calls()))
			}
		}

		// The hook's time has just run out with ABANDON: the instance is on its way to Terminating:Retained.
		kept := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Minute})
		i = kept.Launch()
		l = lifecycle(t, kept, i)
		i.Terminate()
		time.Sleep(time.Minute) // simulated
		if s := i.State(); s != "Terminating:Proceed" {
			t.Fatal(s)
		}
		if retained, err := l.Finish(t.Context(), &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete}); !retained || err != nil {
			t.Errorf("retained %v, %v, in %s", retained, err, i.State())
		}

		// An action that never comes.
		odd := draintest.NewGroup(&draintest.GroupOptions{Deregistration: 100 * time.Hour})
		i = odd.Launch()
		l = lifecycle(t, odd, i)
		i.Terminate()
		begin = time.Now()
		if _, err := l.Finish(t.Context(), complete()); !errors.Is(err, asg.ErrNoAction) || time.Since(begin) > 61*time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin = time.Now()
		if _, err := l.Finish(ctx, complete()); err == nil || time.Since(begin) > time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// inPool shows the states of an instance on its way out as those of one on its way back to a warm pool.
type inPool struct{ *draintest.Group }

func (p inPool) Instance(ctx context.Context, id string) (asg.Instance, error) {
	i, err := p.Group.Instance(ctx, id)
	i.State = strings.Replace(i.State, "Terminating", "Warmed:Pending", 1)
	return i, err
}

// TestBackToPool: on the way back to a warm pool, too, deregistration from the load balancers comes first.
func TestBackToPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := draintest.NewGroup(&draintest.GroupOptions{Deregistration: 40 * time.Minute})
		for r, want := range map[*drain.Report]asg.Answer{complete(): asg.Continue, {Intent: drain.Drain, Outcome: drain.Incomplete}: asg.Abandon} {
			i := g.Launch()
			l, err := asg.New(&asg.Options{Metadata: i, Service: inPool{g}})
			if err != nil {
				t.Fatal(err)
			}
			i.Terminate()
			retained, err := l.Finish(t.Context(), r)
			if answer, _ := i.Answered(); err != nil || answer != want || retained != (want == asg.Abandon) {
				t.Errorf("answered %q, want %q; retained %v, %v", answer, want, retained, err)
			}
		}
	})
}

// TestRefused: the instance waits, but the API says that no action does, as it also says of an expired token and of another
// hook's action. The API may be late, so the answer is retried for a twelfth of CompleteTimeout.
func TestRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := draintest.NewGroup(&draintest.GroupOptions{Fault: func(op string) error {
			if op == string(asg.Continue) {
				return asg.ErrNoAction
			}
			return nil
		}})
		i := g.Launch()
		l := lifecycle(t, g, i)
		i.Terminate()
		begin := time.Now()
		_, err := l.Finish(t.Context(), complete())
		if took := time.Since(begin); !errors.Is(err, asg.ErrNoAction) || took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
	})
}

// TestNotices: which metadata means that the instance is taken away.
func TestNotices(t *testing.T) {
	const target = "autoscaling/target-lifecycle-state"
	for name, tc := range map[string]struct {
		served, goes bool
		path, value  string
	}{
		"in service":            {true, false, target, "InService"},
		"none yet":              {false, false, target, ""},
		"terminated":            {true, true, target, "Terminated"},
		"warmed and terminated": {false, true, target, "Warmed:Terminated"},
		"warming up":            {false, false, target, "Warmed:Stopped"},
		"back to the pool":      {true, true, target, "Warmed:Stopped"},
		"detached":              {true, false, target, "Detached"},
		"spot":                  {true, true, "spot/instance-action", `{"action":"stop","time":"2030-01-02T03:04:05Z"}`},
		"odd spot notice":       {true, true, "spot/instance-action", `?`},
		"rebalance":             {true, false, "events/recommendations/rebalance", `{"noticeTime":"2030-01-02T03:04:05Z"}`},
	} {
		t.Run(name, func(t *testing.T) {
			g := draintest.NewGroup(nil)
			i := g.Launch()
			l := lifecycle(t, g, i)
			if !tc.served {
				i.Set(target, "")
			}
			if _, goes, err := l.Notice(t.Context()); goes || err != nil {
				t.Fatal(goes, err)
			}
			i.Set(tc.path, tc.value)
			n, goes, err := l.Notice(t.Context())
			if goes != tc.goes || err != nil || goes == (n.Trigger == "") {
				t.Errorf("goes %v, %+v, %v", goes, n, err)
			}
			if want := time.Date(2030, 1, 2, 3, 4, 0, 0, time.UTC); name == "spot" && !n.Deadline.Equal(want) {
				t.Errorf("deadline %v, want %v", n.Deadline, want)
			}
		})
	}
}
