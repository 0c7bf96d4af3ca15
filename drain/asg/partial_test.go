package asg_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
)

// TestPartOfMetadata: each path of the metadata counts, even if the others fail: a metadata service that always refuses
// the spot notice must not hide a scale-in, nor the other way round.
func TestPartOfMetadata(t *testing.T) {
	const target, spot = "autoscaling/target-lifecycle-state", "spot/instance-action"
	for _, ill := range []string{spot, target, "events/recommendations/rebalance"} {
		t.Run(ill, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				g := draintest.NewGroup(&draintest.GroupOptions{Fault: func(op string) error {
					if op == ill {
						return errors.New("403 Forbidden")
					}
					return nil
				}})
				i := g.Launch()
				d, err := drain.New(&drain.Options{Dir: t.TempDir(), Lifecycles: []drain.Lifecycle{lifecycle(t, g, i)}, Quiesce: -1, Timeout: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				if ill == target {
					i.Reclaim()
				} else {
					i.Terminate()
				}
				if n, goes := d.Terminating(t.Context()); !goes {
					t.Errorf("not seen: %+v", n)
				}
			})
		})
	}
}

// TestLateScaleIn: the group takes an instance away while it drains because of a signal: it still sends heartbeats, so
// that the hook has not expired when the drain is verified and answers CONTINUE.
func TestLateScaleIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: 30 * time.Minute})
		i := g.Launch()
		l := lifecycle(t, g, i)
		if _, goes, err := l.Notice(t.Context()); goes || err != nil {
			t.Fatal(goes, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Hour)
		defer cancel()
		time.AfterFunc(10*time.Minute, i.Terminate)
		drive(ctx, l)
		if s := i.State(); s != "Terminating:Wait" {
			t.Errorf("after three hours: %s", s)
		}
		if _, err := l.Finish(t.Context(), complete()); err != nil {
			t.Error(err)
		}
		if a, expired := i.Answered(); a != asg.Continue || expired {
			t.Errorf("answered %q, expired %v", a, expired)
		}
	})
}

// TestNothingToVerify: a drain that has seen no class at all proves nothing about the disk.
func TestNothingToVerify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := draintest.NewGroup(nil)
		i := g.Launch()
		i.Terminate()
		d, err := drain.New(&drain.Options{Dir: t.TempDir(), Lifecycles: []drain.Lifecycle{lifecycle(t, g, i)}, Quiesce: -1, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		sig := make(chan os.Signal, 2)
		time.AfterFunc(time.Hour, func() { sig <- os.Interrupt; sig <- os.Interrupt }) // the group has retained it
		r, err := d.RunWith(t.Context(), sig)
		if err != nil || r.Outcome == drain.Delivered {
			t.Errorf("%v %s", err, r.JSON())
		}
		if a, _ := i.Answered(); a != asg.Abandon {
			t.Errorf("answered %q", a)
		}
		none := &drain.Report{Intent: drain.Drain, Outcome: drain.Delivered}
		i = g.Launch()
		i.Terminate()
		if _, err := lifecycle(t, g, i).Finish(t.Context(), none); err != nil {
			t.Error(err)
		}
		if a, _ := i.Answered(); a != asg.Abandon {
			t.Errorf("a report of no class: answered %q", a)
		}
	})
}

// TestSpotWithoutTime: a notice without a time has no deadline, not one in the year 1.
func TestSpotWithoutTime(t *testing.T) {
	g := draintest.NewGroup(nil)
	for _, js := range []string{`{"action":"terminate"}`, `null`, `{}`} {
		i := g.Launch()
		i.Set("spot/instance-action", js)
		if n, goes, err := lifecycle(t, g, i).Notice(t.Context()); !goes || err != nil || !n.Deadline.IsZero() {
			t.Errorf("%s: goes %v, %+v, %v", js, goes, n, err)
		}
	}
}

// TestNoHeartbeatWhenRetained: a process that starts on a retained instance drains without calling the API, which has no
// action for it.
func TestNoHeartbeatWhenRetained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := draintest.NewGroup(&draintest.GroupOptions{HeartbeatTimeout: time.Minute})
		i := g.Launch()
		i.Terminate()
		time.Sleep(2 * time.Minute)
		l := lifecycle(t, g, i)
		if n, goes, err := l.Notice(t.Context()); !goes || !n.Retained || err != nil {
			t.Fatalf("%+v %v %v", n, goes, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		drive(ctx, l)
		if n := len(i.Calls()); n > 0 {
			t.Errorf("%d calls in an hour", n)
		}
		incomplete := &drain.Report{Intent: drain.Drain, Outcome: drain.Incomplete}
		if retained, err := l.Finish(t.Context(), incomplete); !retained || err != nil {
			t.Errorf("retained %v, %v", retained, err)
		}
	})
}

// TestCheckAgain: if the API fails at the start, Check is repeated until it has found out what is wrong with the group.
func TestCheckAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		well := time.Now().Add(150 * time.Second)
		g := draintest.NewGroup(&draintest.GroupOptions{Terminate: true, Fault: func(op string) error {
			if op == "Instance" && time.Now().Before(well) {
				return errors.New("no credentials yet")
			}
			return nil
		}})
		var log bytes.Buffer
		l, err := asg.New(&asg.Options{Metadata: g.Launch(), Service: g, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		for range 3600 {
			l.Update(t.Context(), drain.Status{Phase: drain.PhaseRun})
			time.Sleep(time.Second)
		}
		tried, told := strings.Count(log.String(), "no credentials yet"), strings.Count(log.String(), "TerminateHookAbandon to retain")
		if tried != 3 || told != 1 {
			t.Errorf("%d attempts, told %d times: %s", tried, told, log.String())
		}
	})
}
