package drain

import (
	"context"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestRetainedAfterStall: a stall ends the round, but platforms still get updates in the rounds after it: systemd kills a
// process that is silent while it stops.
func TestRetainedAfterStall(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		healed := make(chan struct{})
		w.faulty.SetPlan(func(shiptest.Call) shiptest.Fault {
			return shiptest.Fault{Before: func(ctx context.Context) error {
				select {
				case <-healed:
					return nil
				case <-ctx.Done():
					return ctx.Err()
				}
			}}
		})
		p := &fake{notice: notice()}
		var gaveUp time.Time
		p.complete = func(*Report) (bool, error) {
			if gaveUp.IsZero() {
				gaveUp = time.Now()
				time.AfterFunc(3*time.Hour, func() { close(healed) })
			}
			return true, nil
		}
		d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: 40 * time.Hour, StallTimeout: 5 * time.Minute, Quiesce: -1})
		w.append(sp, 200)
		r, err := d.RunWith(t.Context(), nil)
		if err != nil || r.Outcome != Delivered || !r.Retained {
			t.Fatalf("%v %s", err, r.JSON())
		}
		n := 0
		for _, at := range p.times {
			if at.After(gaveUp.Add(time.Minute)) {
				n++
			}
		}
		// Each of the rounds after it stalls as well.
		if least := int(r.Ended.Sub(gaveUp.Add(time.Minute)).Seconds()) / 3; n < least {
			t.Errorf("told %d times in the %v behind the stall", n, r.Ended.Sub(gaveUp))
		}
	})
}

// hangs is a platform that does not answer from a time on; with deaf it also ignores its context.
type hangs struct {
	from time.Time
	deaf chan struct{}
}

func (h hangs) Notice(ctx context.Context) (Notice, bool, error) {
	if time.Now().Before(h.from) {
		return Notice{}, false, nil
	}
	if h.deaf != nil {
		<-h.deaf
		return Notice{}, false, nil
	}
	<-ctx.Done()
	return Notice{}, false, ctx.Err()
}
func (hangs) Update(context.Context, Status)                {}
func (hangs) Finish(context.Context, *Report) (bool, error) { return false, nil }

// TestSecondSignalWhileAsking: a platform that does not answer whether it takes the instance away does not delay the
// reaction to a second signal, and that to the first not for long.
func TestSecondSignalWhileAsking(t *testing.T) {
	for name, deaf := range map[string]bool{"slow": false, "deaf": true} {
		for _, signals := range []int{1, 2} {
			t.Run(name, func(t *testing.T) {
				w := newWorld(t)
				synctest.Test(t, func(t *testing.T) {
					w.t = t
					h := hangs{from: time.Now().Add(time.Minute)}
					if deaf {
						h.deaf = make(chan struct{})
						defer close(h.deaf)
					}
					w.faulty.SetPlan(down)
					d, sp := w.start(Options{Lifecycles: []Lifecycle{h}})
					w.append(sp, 10)
					sig := make(chan os.Signal, 2)
					last := h.from
					for range signals {
						last = last.Add(time.Second / 2)
						time.AfterFunc(time.Until(last), func() { sig <- syscall.SIGTERM })
					}
					r, err := d.RunWith(t.Context(), sig)
					took, most := time.Since(last), 2*time.Second
					if signals == 1 {
						most = 3 * time.Second
					}
					if err != nil || r.Outcome != Stopped || took > most {
						t.Errorf("%v after %v: %s", err, took, r.JSON())
					}
				})
			})
		}
	}
}

// TestContextAsksPlatform: the context, too, may end because the instance is taken away.
func TestContextAsksPlatform(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		d, sp := w.start(Options{Lifecycles: []Lifecycle{convalescent{time.Now().Add(1500 * time.Millisecond)}}, Quiesce: -1})
		w.append(sp, 100)
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("main has failed"))
		r, err := d.RunWith(ctx, nil)
		if err != nil || r.Intent != Drain || r.Outcome != Delivered || r.Trigger != "main has failed after scale-in" {
			t.Errorf("%v %s", err, r.JSON())
		}
	})
}

// TestClockIsSet: setting the wall clock does not move the deadline, not even that of a platform.
func TestClockIsSet(t *testing.T) {
	d, err := New(&Options{Dir: t.TempDir(), Timeout: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	wall := time.Now().Round(0)
	for name, tc := range map[string]struct {
		notice *Notice
		want   time.Duration
	}{
		"none": {nil, time.Hour}, "no deadline": {&Notice{}, time.Hour}, "a later one": {&Notice{Deadline: wall.Add(2 * time.Hour)}, time.Hour},
		"spot": {&Notice{Deadline: wall.Add(2 * time.Minute)}, 2 * time.Minute}, "over": {&Notice{Deadline: wall.Add(-time.Hour)}, 0},
	} {
		r := &run{d: d, cause: cause{intent: Drain, notice: tc.notice}, began: time.Now()}
		deadline, timeout := r.deadline(true)
		if off := timeout - tc.want; off.Abs() > 10*time.Second || deadline.Sub(r.began) != timeout || !strings.Contains(deadline.String(), " m=") {
			t.Errorf("%s: %v, at %v", name, timeout, deadline)
		}
	}
}
