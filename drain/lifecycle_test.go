package drain

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

// fake is a Lifecycle that a test controls and that records its calls.
type fake struct {
	notice   chan Notice // closed or filled: the platform takes the instance away
	complete func(*Report) (bool, error)

	mu       sync.Mutex
	running  []Status // with PhaseRun
	progress []Status
	times    []time.Time
	reports  []Report
}

func (p *fake) Notice(context.Context) (Notice, bool, error) {
	select {
	case n := <-p.notice:
		return n, true, nil
	default:
		return Notice{}, false, nil
	}
}

func (p *fake) Update(_ context.Context, at Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if at.Phase == PhaseRun {
		p.running = append(p.running, at)
		if len(p.progress) > 0 {
			panic("told that the service runs while it ends")
		}
		return
	}
	p.progress, p.times = append(p.progress, at), append(p.times, time.Now())
}

func (p *fake) Finish(_ context.Context, r *Report) (bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reports = append(p.reports, *r)
	if p.complete != nil {
		return p.complete(r)
	}
	return false, nil
}

func notice() chan Notice {
	c := make(chan Notice, 1)
	c <- Notice{Trigger: "scale-in"}
	return c
}

func (r *Report) took(phase string) time.Duration {
	for _, p := range r.Phases {
		if p.Name == phase {
			return time.Duration(p.Seconds * float64(time.Second))
		}
	}
	return -1
}

// TestQuiesce: after a platform's notice the listeners stay open until no record has arrived for Quiesce, and everything
// that arrives by then is delivered; if records never stop arriving, the end is not delayed further.
func TestQuiesce(t *testing.T) {
	for name, tc := range map[string]struct {
		every, until time.Duration
		want         time.Duration
		timeout      time.Duration
	}{
		"silence at once":       {0, 0, 130 * time.Second, time.Hour},
		"late records":          {5 * time.Second, 100 * time.Second, 230 * time.Second, time.Hour},
		"never quiet":           {100 * time.Second, time.Hour, 300 * time.Second, time.Hour},
		"last one after 129 s":  {129 * time.Second, 129 * time.Second, 259 * time.Second, time.Hour},
		"half of what there is": {time.Second, time.Hour, 108 * time.Second, 4 * time.Minute},
		"steadily for 130 s":    {time.Second, 130 * time.Second, 260 * time.Second, time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			synctest.Test(t, func(t *testing.T) {
				w.t = t
				p := &fake{notice: notice()}
				closed := make(chan struct{})
				w.listeners = []Input{closing(closed)}
				// Quiesce is not a stall, however long it takes.
				d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: tc.timeout, StallTimeout: 20 * time.Second})
				sent := make(chan uint64, 1)
				go func() {
					begin, n := time.Now(), uint64(0)
					for tc.every > 0 && time.Since(begin) < tc.until {
						select {
						case <-time.After(tc.every):
						case <-closed:
							sent <- n
							return
						}
						rec := []segment.Record{{Time: time.Now().UnixNano(), Data: []byte("late")}}
						if _, err := sp.Append(context.Background(), rec); err != nil {
							break
						}
						n++
					}
					sent <- n
				}()
				r, err := d.RunWith(t.Context(), nil)
				if err != nil || r.Outcome != Delivered || r.Trigger != "scale-in" {
					t.Fatalf("%v %s", err, r.JSON())
				}
				if got := r.took(phaseQuiesce); got < tc.want-time.Second || got > tc.want+3*time.Second {
					t.Errorf("quiet after %v, want %v", got, tc.want)
				}
				if n := <-sent; r.Classes["vpn"].Kept.Records != n {
					t.Errorf("%d records sent, %d kept", n, r.Classes["vpn"].Kept.Records)
				}
			})
		})
	}
}

// closing is a Listener that reports when it is closed.
type closing chan struct{}

func (c closing) Shutdown(context.Context) error { close(c); return nil }

// slow is a platform whose Finish takes long.
type slow struct{ *fake }

func (s slow) Finish(ctx context.Context, r *Report) (bool, error) {
	time.Sleep(10 * time.Minute) // simulated
	return s.fake.Finish(ctx, r)
}

// TestStall: if a destination neither answers nor fails, the drain ends after StallTimeout, with a report and an answer to
// the platform, which gets updates until Finish has returned.
func TestStall(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(func(shiptest.Call) shiptest.Fault {
			return shiptest.Fault{Before: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
		})
		p := &fake{notice: notice()}
		var log bytes.Buffer
		d, sp := w.start(Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Lifecycles: []Lifecycle{slow{p}}, Timeout: 40 * time.Hour, StallTimeout: 5 * time.Minute, Quiesce: -1})
		w.append(sp, 200)
		begin := time.Now()
		r, err := d.RunWith(t.Context(), nil)
		if err != nil || r.Outcome != Incomplete || !r.Classes["vpn"].Destinations["good"].Verified {
			t.Fatalf("%v %s", err, r.JSON())
		}
		if took := time.Since(begin); took < 15*time.Minute || took > 17*time.Minute {
			t.Errorf("gave up after %v", took)
		}
		for i, at := range p.progress {
			if at.Idle >= 5*time.Minute {
				t.Errorf("told of progress %d after %v without any", i, at.Idle)
			}
		}
		for i, at := range p.times {
			if i > 0 && at.Sub(p.times[i-1]) > 2*time.Second {
				t.Errorf("no update for %v after %v", at.Sub(p.times[i-1]), p.times[i-1].Sub(begin))
			}
		}
		if last := len(p.times) - 1; time.Since(p.times[last]) > 2*time.Second || p.progress[last].Phase != phaseFinish {
			t.Errorf("the last update was in %s, %v before the end", p.progress[last].Phase, time.Since(p.times[last]))
		}
		if n := strings.Count(log.String(), "giving up"); n != 1 {
			t.Errorf("gave up %d times", n)
		}
		if len(p.reports) != 1 || p.reports[0].Outcome != Incomplete {
			t.Errorf("the platform got %d reports", len(p.reports))
		}
	})
}

// TestHanging: listeners and steps that ignore their contexts use up only their share of the time; the data of the class
// is delivered, and the report is written.
func TestHanging(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		never := make(chan struct{})
		defer close(never)
		w.listeners = []Input{hanging(never)}
		ran := 0
		d, sp := w.start(Options{
			Timeout: 10 * time.Minute, StallTimeout: time.Hour,
			Before: []Step{
				{"hangs", func(context.Context) error { <-never; return nil }},
				{"runs", func(context.Context) error { ran++; return nil }},
			},
		})
		w.append(sp, 200)
		begin := time.Now()
		r, err := d.Drain(t.Context(), "test")
		if err != nil || r.Outcome != Incomplete || time.Since(begin) > 10*time.Minute || ran != 1 {
			t.Fatalf("%v after %v, %d steps, %s", err, time.Since(begin), ran, r.JSON())
		}
		for dest, dr := range r.Classes["vpn"].Destinations {
			if !dr.Verified || dr.Drained.Records != 200 || dr.BytesPerSecond <= 0 {
				t.Errorf("%s: %+v", dest, dr)
			}
		}
		if !strings.Contains(strings.Join(r.Errors, "\n"), "step hangs: "+errHangs.Error()) {
			t.Errorf("errors %q", r.Errors)
		}
	})
}

// TestStopWithoutTime: the context of Stop has ended, and an input hangs. What is abandoned then shares nothing with what follows; only the
// race detector shows it.
func TestStopWithoutTime(t *testing.T) {
	for range 20 {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			never := make(chan struct{})
			defer close(never)
			w.listeners = []Input{hanging(never)}
			d, sp := w.start(Options{})
			w.append(sp, 3)
			ended, end := context.WithCancel(t.Context())
			end()
			if r, err := d.Stop(ended, "test"); err != nil || r.Outcome != Stopped || r.Classes["vpn"].Kept.Records != 3 {
				t.Errorf("%v: %s", err, r.JSON())
			}
		})
	}
}

type hanging chan struct{}

func (h hanging) Shutdown(context.Context) error { <-h; return nil }

// TestRetained: on an instance that the platform retains, the drain continues until it is complete.
func TestRetained(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(down)
		p := &fake{notice: notice()}
		p.complete = func(r *Report) (bool, error) {
			if r.Outcome != Delivered {
				time.AfterFunc(90*time.Minute, func() { w.faulty.SetPlan(nil) })
			}
			return true, nil
		}
		d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: 20 * time.Minute, Quiesce: -1})
		w.append(sp, 500)
		r, err := d.RunWith(t.Context(), nil)
		if err != nil || r.Outcome != Delivered || !r.Retained {
			t.Fatalf("%v %s", err, r.JSON())
		}
		// The platform is told of the completion too: otherwise it would wait for the disk indefinitely.
		if len(p.reports) != 2 || p.reports[0].Outcome != Incomplete || p.reports[0].Retained || p.reports[1].Outcome != Delivered || !p.reports[1].Retained {
			t.Errorf("the platform got %+v", p.reports)
		}
		if got := w.written(); got.Outcome != Delivered || !got.Retained || len(got.Left) != 0 {
			t.Errorf("on the volume: %s", got.JSON())
		}
		var s strings.Builder
		if err := r.WriteSummary(&s); err != nil || !strings.HasPrefix(s.String(), "drain: delivered, retained,") {
			t.Errorf("%v %s", err, s.String())
		}
	})
}

// TestFrozen: a segment whose object a drain found altered stays in the spool, even in the next process, until the object
// is repaired.
func TestFrozen(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		d, sp := w.start(Options{Timeout: time.Minute})
		freeze(t, sp) // so that it is still there when the drain begins
		key, want := "", []byte(nil)
		w.alterOne(&key, &want)
		w.append(sp, 1000)
		r, err := d.Drain(t.Context(), "test")
		if err != nil || r.Outcome != Mismatch || len(r.Left) != 1 || r.Left[0].Where != key || r.Left[0].Records == 0 {
			t.Fatalf("%v %s", err, r.JSON())
		}
		segments := 0
		for restart := range 2 {
			d, sp = w.start(Options{})
			time.Sleep(5 * time.Minute) // simulated: verified once more, and still wrong
			st := sp.Stats()
			if segments = max(segments, st.Segments); st.Segments == 0 || st.Segments != segments || sp.Shelf().Frozen() == "" {
				t.Fatalf("restart %d: %d segments are left, frozen %q", restart, st.Segments, sp.Shelf().Frozen())
			}
			if restart == 0 {
				if _, err := d.Stop(t.Context(), "test"); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.other.Set(key, want)
		time.Sleep(2 * reverifyEvery)
		if st := sp.Stats(); st.Segments != 0 || sp.Shelf().Frozen() != "" {
			t.Errorf("put right, and still %d segments, frozen %q", st.Segments, sp.Shelf().Frozen())
		}
		if r, err := d.Drain(t.Context(), "test"); err != nil || r.Outcome != Delivered {
			t.Errorf("%v %s", err, r.JSON())
		}
	})
}

// TestSignalsAfterNotice: if the platform has begun the drain, the first signal does not interrupt it, the second cuts it
// short.
func TestSignalsAfterNotice(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(down)
		p := &fake{notice: notice()}
		sig := make(chan os.Signal)
		d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: time.Hour, StallTimeout: time.Hour})
		w.append(sp, 100)
		var second time.Time
		go func() {
			time.Sleep(time.Minute)
			sig <- syscall.SIGTERM
			time.Sleep(20 * time.Minute)
			second = time.Now()
			sig <- syscall.SIGTERM
		}()
		r, err := d.RunWith(t.Context(), sig)
		if err != nil || r.Outcome != Incomplete || second.IsZero() || time.Since(second) > 2*time.Second {
			t.Fatalf("%v, %v after the second signal, %s", err, time.Since(second), r.JSON())
		}
		if len(p.reports) != 1 {
			t.Errorf("the platform got %d reports", len(p.reports))
		}
	})
}

// TestSignalAsksPlatform: a signal that arrives because the instance is taken away starts a drain, whatever OnSignal
// says.
func TestSignalAsksPlatform(t *testing.T) {
	for _, goes := range []bool{false, true} {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			p := &fake{notice: make(chan Notice, 1)}
			sig := make(chan os.Signal)
			d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, OnSignal: Stop})
			w.append(sp, 100)
			go func() {
				time.Sleep(1500 * time.Millisecond) // between two questions
				if goes {
					p.notice <- Notice{Trigger: "scale-in"}
				}
				sig <- syscall.SIGTERM
			}()
			r, err := d.RunWith(t.Context(), sig)
			if want := map[bool]Intent{false: Stop, true: Drain}[goes]; err != nil || r.Intent != want {
				t.Errorf("goes %v: %v %s", goes, err, r.JSON())
			}
		})
	}
}

// TestBrokenPlatform: a platform that fails and panics does not stop the end.
func TestBrokenPlatform(t *testing.T) {
	w := newWorld(t)
	w.faulty.SetPlan(nil)
	d, sp := w.start(Options{Lifecycles: []Lifecycle{nil, broken{}}, Timeout: time.Minute})
	w.append(sp, 10)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("main has failed"))
	d.o.OnSignal = Drain
	r, err := d.RunWith(ctx, nil)
	if err != nil || r.Outcome != Delivered || r.Trigger != "main has failed" {
		t.Fatalf("%v %s", err, r.JSON())
	}
}

type broken struct{}

func (broken) Notice(context.Context) (Notice, bool, error)  { panic("notice") }
func (broken) Update(context.Context, Status)                { panic("progress") }
func (broken) Finish(context.Context, *Report) (bool, error) { return true, fmt.Errorf("complete") }

// TestTold: a platform gets an update of the running service each second, but none once the end has begun, whatever began
// it. A platform that hangs then does not delay the end.
func TestTold(t *testing.T) {
	for _, hangs := range []bool{false, true} {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			w.faulty.SetPlan(down)
			p, release := &fake{notice: make(chan Notice, 1)}, make(chan struct{})
			defer close(release)
			ls := []Lifecycle{p}
			if hangs {
				ls = append(ls, stuck{release})
			}
			d, sp := w.start(Options{Lifecycles: ls, Timeout: time.Minute})
			w.append(sp, 100)
			go func() {
				time.Sleep(time.Minute + time.Second/2)
				if _, err := d.Stop(t.Context(), "by hand"); err != nil {
					t.Error(err)
				}
				p.notice <- Notice{Trigger: "too late"}
			}()
			r, err := d.RunWith(t.Context(), nil)
			if err != nil || r.Intent != Stop || r.Trigger != "by hand" || r.Ended.Sub(r.Started) > 5*time.Second {
				t.Fatalf("%v %s", err, r.JSON())
			}
			p.mu.Lock()
			defer p.mu.Unlock()
			if n := len(p.running); n != 61 || p.running[60].Pending.Records < 100 {
				t.Errorf("told %d times in a minute, last %+v", n, p.running[n-1])
			}
		})
	}
}

// stuck is a platform that takes its time.
type stuck struct{ release chan struct{} }

func (s stuck) Notice(context.Context) (Notice, bool, error)  { return Notice{}, false, nil }
func (s stuck) Update(context.Context, Status)                { <-s.release }
func (s stuck) Finish(context.Context, *Report) (bool, error) { return false, nil }

// TestGrace: an end is over before the platform's Grace is.
func TestGrace(t *testing.T) {
	for grace, want := range map[time.Duration]time.Duration{
		0: 10 * time.Minute, 30 * time.Second: 25 * time.Second, 12 * time.Second: 10 * time.Second, time.Hour: 10 * time.Minute,
	} {
		o := (&Options{Dir: t.TempDir(), Grace: grace}).withDefaults()
		if o.Timeout != want || o.StopTimeout != min(want, 30*time.Second) || o.validate() != nil {
			t.Errorf("grace %v: timeout %v, %v to stop, %v", grace, o.Timeout, o.StopTimeout, o.validate())
		}
	}
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(down)
		d, sp := w.start(Options{Grace: 30 * time.Second})
		w.append(sp, 100)
		begin := time.Now()
		r, err := d.Drain(t.Context(), "test")
		if took := time.Since(begin); err != nil || r.Outcome != Incomplete || took > 30*time.Second {
			t.Errorf("%v after %v: %s", err, took, r.JSON())
		}
	})
}

// TestTerminatingAsksAgain: a platform that does not answer at once is asked again before a socket opens, for two seconds.
func TestTerminatingAsksAgain(t *testing.T) {
	for ill, want := range map[time.Duration]bool{0: true, time.Second: true, time.Minute: false} {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			begin := time.Now()
			d, _ := w.start(Options{Lifecycles: []Lifecycle{convalescent{begin.Add(ill)}}, Quiesce: -1})
			if _, goes := d.Terminating(t.Context()); goes != want || time.Since(begin) > askTimeout {
				t.Errorf("ill for %v: goes %v after %v", ill, goes, time.Since(begin))
			}
			if _, err := d.Stop(t.Context(), "test"); err != nil {
				t.Error(err)
			}
		})
	}
}

// convalescent is a platform that takes the instance away, but fails at first when it is asked.
type convalescent struct{ well time.Time }

func (c convalescent) Notice(context.Context) (Notice, bool, error) {
	if time.Now().Before(c.well) {
		return Notice{}, false, errDown
	}
	return Notice{Trigger: "scale-in"}, true, nil
}

func (convalescent) Update(context.Context, Status)                {}
func (convalescent) Finish(context.Context, *Report) (bool, error) { return false, nil }

// TestEndIsTold: an end that takes no time is over before the first update of each second. The platform is told of it before Finish.
func TestEndIsTold(t *testing.T) {
	for range 200 {
		p := &fake{}
		told := 0
		p.complete = func(*Report) (bool, error) { told = len(p.progress); return false, nil } // p.mu is held
		d, err := New(&Options{Dir: t.TempDir(), Lifecycles: []Lifecycle{p}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.Drain(t.Context(), "test"); err != nil {
			t.Fatal(err)
		}
		if told == 0 {
			t.Fatal("Finish came before any Update")
		}
	}
}
