package drain

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestHook: Run as one of a group of goroutines that end together, with an HTTP server that answers until the spools are
// closed, and with steps of the program that panic and fail. The result is the same whatever causes the end.
func TestHook(t *testing.T) {
	for _, how := range []string{"a member fails", "two signals"} {
		t.Run(how, func(t *testing.T) {
			w := newWorld(t)
			if how == "two signals" {
				w.faulty.SetPlan(down) // it would take an hour
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
			ask := func() string {
				resp, err := client.Get("http://" + l.Addr().String() + "/readyz")
				if err != nil {
					return "closed"
				}
				resp.Body.Close()
				return resp.Status[:3]
			}
			var order []string
			step := func(name string, then func(context.Context) error) Step {
				return Step{name, func(ctx context.Context) error { order = append(order, name+" "+ask()); return then(ctx) }}
			}
			fine := func(context.Context) error { return nil }
			panics := func(context.Context) error { panic("of the user's") }
			begun := make(chan struct{})
			api := &http.Server{ReadHeaderTimeout: 5 * time.Second}
			d, sp := w.start(Options{
				OnSignal: Drain, Timeout: time.Hour,
				Before: []Step{step("b1", panics), step("b2", func(context.Context) error { return errDown }), step("b3", func(context.Context) error { close(begun); return nil })},
				After:  []Step{step("a1", panics), step("a2", api.Shutdown), step("a3", fine)},
			})
			api.Handler = d.Handler()
			w.append(sp, 100)

			ctx, cancel := context.WithCancelCause(t.Context())
			var g sync.WaitGroup
			g.Go(func() {
				if err := api.Serve(l); !errors.Is(err, http.ErrServerClosed) {
					t.Error(err)
				}
			})
			if got := ask(); got != "200" {
				t.Errorf("before the end: %s", got)
			}
			fail, sig := make(chan struct{}), make(chan os.Signal)
			g.Go(func() { // uses the records
				select {
				case <-fail:
					cancel(errors.New("a member has failed"))
				case <-ctx.Done():
				}
			})
			var r *Report
			g.Go(func() {
				defer cancel(nil)
				if r, err = d.RunWith(ctx, sig); err != nil {
					t.Error(err)
				}
			})
			outcome := Delivered
			if how == "two signals" {
				outcome = Incomplete
				sig <- syscall.SIGTERM
				<-begun
				<-time.After(2 * echo) // otherwise it would count as the first one
				sig <- syscall.SIGTERM
			} else {
				close(fail)
			}
			g.Wait()
			if want := []string{"b1 503", "b2 503", "b3 503", "a1 503", "a2 503", "a3 closed"}; !slices.Equal(order, want) {
				t.Errorf("%q, want %q", order, want)
			}
			errs := strings.Join(r.Errors, "\n")
			if r.Outcome != outcome || r.Classes["vpn"].Kept.Records != 100 || !strings.Contains(errs, "step b1: panic: of the user's") || !strings.Contains(errs, fmt.Sprint("step b2: ", errDown)) {
				t.Errorf("%s", r.JSON())
			}
		})
	}
}

// TestSecondSignalHanging: in whichever phase the second signal arrives, the process ends within two seconds, even if
// something hangs (a listener, a destination, a platform, a step), and the report is on the volume.
func TestSecondSignalHanging(t *testing.T) {
	for after, phase := range map[time.Duration]string{time.Second: phaseAnnounce, 35 * time.Minute: phaseClose, 50 * time.Minute: phaseShip} {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			never := make(chan struct{})
			defer close(never)
			hangs := func(context.Context) error { <-never; return nil }
			w.listeners = []Input{hanging(never)}
			w.faulty.SetPlan(func(shiptest.Call) shiptest.Fault { return shiptest.Fault{Before: hangs} })
			p := &fake{complete: func(*Report) (bool, error) { <-never; return true, nil }}
			sig := make(chan os.Signal)
			d, sp := w.start(Options{
				Lifecycles: []Lifecycle{p}, OnSignal: Drain, Timeout: time.Hour, StallTimeout: time.Hour,
				Before: []Step{{"hangs", hangs}}, After: []Step{{"hangs", hangs}},
			})
			w.append(sp, 100)
			var second time.Time
			go func() {
				sig <- syscall.SIGTERM
				time.Sleep(after)
				second = time.Now()
				sig <- syscall.SIGTERM
			}()
			r, err := d.RunWith(t.Context(), sig)
			took := time.Since(second)
			if err != nil || r.Outcome != Incomplete || second.IsZero() || took > 2*time.Second {
				t.Fatalf("%v, %v after a signal in %s: %s", err, took, phase, r.JSON())
			}
			got := w.written()
			in := slices.ContainsFunc(got.Phases, func(p Phase) bool { return p.Name == phase && p.Seconds > 1 })
			if !in || got.Outcome != Incomplete || got.Classes["vpn"].Kept.Records != 100 {
				t.Errorf("%s", got.JSON())
			}
		})
	}
}

// TestFullDiskAtTheEnd: records that are in memory only, because the disk is full, are not lost when the time of the end is
// up: the process stays until there is room, and only a second signal gives them up. The report, which is written before
// that, does not count them as kept.
func TestFullDiskAtTheEnd(t *testing.T) {
	for _, signalled := range []bool{false, true} {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			empties := time.Now().Add(2 * time.Hour)
			defer vfs.Interpose(func(op vfs.Op) error {
				if time.Now().Before(empties) && time.Now().After(empties.Add(-119*time.Minute)) && (op.Kind == vfs.OpWrite || op.Kind == vfs.OpCreate || op.Kind == vfs.OpAllocate) {
					return syscall.ENOSPC
				}
				return nil
			})()
			sig := make(chan os.Signal)
			d, sp := w.start(Options{})
			w.append(sp, 10)
			go func() {
				time.Sleep(2 * time.Minute)
				if _, err := sp.Offer(context.Background(), []segment.Record{{Data: []byte("the last one")}}); err != nil {
					t.Error(err)
				}
				time.Sleep(time.Second)
				sig <- syscall.SIGTERM
				if time.Sleep(30 * time.Minute); signalled {
					sig <- syscall.SIGTERM
				}
			}()
			r, err := d.RunWith(t.Context(), sig)
			if r.Outcome != Incomplete || err == nil || r.Classes["vpn"].Buffered.Records != 1 || time.Now().Before(empties) != signalled {
				t.Fatalf("%v at %v: %s", err, time.Now(), r.JSON())
			}
			empties = time.Now()
			d, sp = w.start(Options{})
			if n, want := sp.Ledger().Kept.Records, map[bool]uint64{false: 11, true: 10}[signalled]; n != want {
				t.Errorf("%d records are kept, want %d", n, want)
			}
			if _, err := d.Stop(t.Context(), "test"); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestFreezeOnFullDisk: a spool that a drain could not verify stays frozen in the next process, although the disk had no
// room for the mark: the process stays until the mark is written.
func TestFreezeOnFullDisk(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		var full atomic.Bool
		empties := time.Now().Add(2 * time.Hour)
		defer vfs.Interpose(func(op vfs.Op) error {
			if full.Load() && time.Now().Before(empties) && (op.Kind == vfs.OpWrite || op.Kind == vfs.OpCreate) {
				return syscall.ENOSPC
			}
			return nil
		})()
		key := ""
		w.faulty.SetPlan(func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Put && strings.HasPrefix(c.Key, "class=") {
				if key == "" {
					key = c.Key
					return shiptest.Fault{After: func(context.Context) error { w.other.Remove(c.Key); return nil }}
				}
				if key == c.Key {
					return shiptest.FailBefore(errDown)
				}
			}
			return shiptest.Fault{}
		})
		d, sp := w.start(Options{Timeout: time.Minute})
		freeze(t, sp) // so that it is still there when the drain begins
		w.append(sp, 100)
		if err := sp.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := d.all()[0].Shipper.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		full.Store(true)
		r, _ := d.Drain(t.Context(), "test")
		if r.Outcome != Mismatch || time.Now().Before(empties) {
			t.Fatalf("at %v: %s", time.Now(), r.JSON())
		}
		w.faulty.SetPlan(nil)
		d, sp = w.start(Options{Timeout: time.Minute})
		if sp.Shelf().Frozen() == "" {
			t.Error("the next process does not know that nothing may be deleted")
		}
		if r, err := d.Drain(t.Context(), "again"); err != nil || r.Outcome != Delivered || w.other.Bytes(key) == nil {
			t.Errorf("%v %s", err, r.JSON())
		}
	})
}
