package drain

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// within fails the test if f takes longer than d.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	began := time.Now()
	f()
	if took := time.Since(began); took > d {
		t.Errorf("%s took %v, %v is the most", what, took, d)
	}
}

// TestRefusedOptions: New names all mistakes at once, so that they are not found only at the end.
func TestRefusedOptions(t *testing.T) {
	var platform *fake
	var owed *never
	_, err := New(&Options{
		Dir: t.TempDir(), Lifecycles: []Lifecycle{nil, platform}, Adoptions: owed,
		Before: []Step{{Name: "flags"}}, After: []Step{{Name: "files", Run: func(context.Context) error { return nil }}, {}},
	})
	for _, want := range []string{"Lifecycles[1] is nil (*drain.fake)", "Adoptions is nil (*drain.never)", `Before[0]: step "flags" has no Run`, `After[1]: step "" has no Run`} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := New(&Options{Dir: dir, ReportFile: filepath.Join(file, "report.json")}); err == nil {
		t.Error("a report below a file was accepted")
	}
	if _, err := New(&Options{Dir: dir, ReportFile: filepath.Join(dir, "reports", "report.json")}); err != nil {
		t.Errorf("a report in a directory that is not there yet: %v", err)
	}
	if runtime.GOOS == "windows" || os.Geteuid() == 0 {
		return // nothing is forbidden
	}
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.Chmod(dir, 0o700) }()
	if _, err := New(&Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("a directory without the right to write: %v", err)
	}
}

// never is Adoptions that is never called.
type never struct{ Adoptions }

// TestRefusedClass: a nil Input and a spool that is closed are refused by Add.
func TestRefusedClass(t *testing.T) {
	w := newWorld(t)
	d, _ := w.start(Options{})
	other := newWorld(t)
	od, sp := other.start(Options{})
	var in *closedInput
	c := Class{Shipper: od.classes[0].Shipper, Inputs: []Input{nil, in}}
	err := d.Add(c)
	for _, want := range []string{"Inputs[0] is nil (<nil>)", "Inputs[1] is nil (*drain.closedInput)"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
	if _, err := od.Stop(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
	_ = sp.Close()
	if err := d.Add(Class{Shipper: c.Shipper}); !errors.Is(err, spool.ErrClosed) {
		t.Errorf("a closed spool: %v", err)
	}
	if err := d.Add(Class{}); err == nil {
		t.Error("a class without a Shipper was added")
	}
	if _, err := d.Stop(t.Context(), "test"); err != nil {
		t.Fatal(err)
	}
}

type closedInput struct{}

func (*closedInput) Shutdown(context.Context) error { return nil }

// TestNilContext: the call refuses it, without ending the process.
func TestNilContext(t *testing.T) {
	w := newWorld(t)
	d, _ := w.start(Options{})
	var none context.Context
	for call, f := range map[string]func() error{
		"Stop":     func() error { _, err := d.Stop(none, ""); return err },
		"Drain":    func() error { _, err := d.Drain(none, ""); return err },
		"Run":      func() error { _, err := d.Run(none); return err },
		"RunWith":  func() error { _, err := d.RunWith(none, nil); return err },
		"HandOver": func() error { return d.HandOver(none) },
		"Adopt":    func() error { _, err := Adopt(none, "x", &AdoptOptions{}); return err },
	} {
		if err := f(); !errors.Is(err, wait.ErrNilContext) {
			t.Errorf("%s: %v", call, err)
		}
	}
	if r, err := d.Stop(t.Context(), "test"); err != nil || r.Outcome != Delivered {
		t.Errorf("%v, %v", r, err)
	}
}

// TestSpoolClosedBefore: an application that has closed the spool itself gets, at once, a report that says so, and the
// drain is not complete.
func TestSpoolClosedBefore(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(down)
		d, sp := w.start(Options{Timeout: time.Minute})
		w.append(sp, 10)
		if err := sp.Close(); err != nil {
			t.Fatal(err)
		}
		within(t, time.Minute, "Drain", func() {
			r, err := d.Drain(t.Context(), "test")
			if err != nil || r.Outcome != Incomplete || !strings.Contains(r.Classes["vpn"].Err, "closed by other code") {
				t.Errorf("%v, %s, %q", err, r.Outcome, r.Classes["vpn"].Err)
			}
		})
		if in, err := spool.Inspect(filepath.Join(w.dir, "vpn")); err != nil || in.Records != 10 {
			t.Errorf("%+v, %v", in, err)
		}
	})
}

// TestEndBesideRun: a waiting Run returns the result of whatever else ends the process, and a further Run returns at once.
func TestEndBesideRun(t *testing.T) {
	for name, end := range map[string]func(*Drainer) (*Report, error){
		"Drain":    func(d *Drainer) (*Report, error) { return d.Drain(context.Background(), "test") },
		"Stop":     func(d *Drainer) (*Report, error) { return d.Stop(context.Background(), "test") },
		"HandOver": func(d *Drainer) (*Report, error) { return nil, d.HandOver(context.Background()) },
		"Run": func(d *Drainer) (*Report, error) {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return d.RunWith(ctx, nil)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			synctest.Test(t, func(t *testing.T) {
				w.t = t
				d, sp := w.start(Options{Lifecycles: []Lifecycle{&fake{}}})
				w.append(sp, 10)
				type result struct {
					r   *Report
					err error
				}
				ran := make(chan result, 1)
				go func() { r, err := d.RunWith(context.Background(), nil); ran <- result{r, err} }()
				synctest.Wait()
				want, err := end(d)
				if name == "HandOver" {
					if err != nil {
						t.Fatal(err)
					}
					err = ErrHandedOver
				}
				within(t, time.Second, "Run beside it", func() {
					if got := <-ran; got.r != want || !errors.Is(got.err, err) {
						t.Errorf("Run: %p, %v; want %p, %v", got.r, got.err, want, err)
					}
				})
				within(t, 0, "Run after it", func() {
					if r, got := d.RunWith(context.Background(), nil); r != want || !errors.Is(got, err) {
						t.Errorf("Run after it: %p, %v; want %p, %v", r, got, want, err)
					}
				})
				if err := d.HandOver(t.Context()); !errors.Is(err, ErrEnding) {
					t.Errorf("HandOver after it: %v", err)
				}
			})
		})
	}
}

// TestSecondEnd: a call during a Drain waits for it no longer than its own context allows.
func TestSecondEnd(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(down)
		d, sp := w.start(Options{Timeout: time.Hour})
		w.append(sp, 10)
		drained := make(chan *Report)
		go func() { r, _ := d.Drain(context.Background(), "first"); drained <- r }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		within(t, time.Minute, "Stop", func() {
			if r, err := d.Stop(ctx, "second"); r != nil || !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "another call") {
				t.Errorf("%v, %v", r, err)
			}
		})
		w.faulty.SetPlan(nil)
		if r := <-drained; r.Trigger != "first" {
			t.Errorf("%+v", r)
		}
	})
}

// stubborn ignores every context until it is released, and can be made to panic.
type stubborn struct {
	release chan struct{}
	asked   int
	mu      sync.Mutex
}

func (s *stubborn) Notice(context.Context) (Notice, bool, error) {
	s.mu.Lock()
	s.asked++
	s.mu.Unlock()
	<-s.release
	return Notice{}, false, nil
}
func (s *stubborn) Update(context.Context, Status)                { <-s.release }
func (s *stubborn) Finish(context.Context, *Report) (bool, error) { <-s.release; return false, nil }
func (s *stubborn) Shutdown(context.Context) error                { <-s.release; return nil }

// TestHangs: a platform and an input that ignore their contexts delay neither Run nor its report, are named, and leave at
// most one goroutine each running.
func TestHangs(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		s := &stubborn{release: make(chan struct{})}
		defer func() { close(s.release); synctest.Wait() }()
		w.listeners = []Input{s}
		log := new(lines)
		d, sp := w.start(Options{OnSignal: Drain, Timeout: time.Minute, Lifecycles: []Lifecycle{s}, Logger: slog.New(slog.NewTextHandler(log, nil))})
		w.append(sp, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		ran := make(chan *Report, 1)
		go func() { r, _ := d.RunWith(ctx, nil); ran <- r }()
		time.Sleep(10*time.Minute - time.Second) // fake time
		s.mu.Lock()
		if s.asked != 1 {
			t.Errorf("a Notice that hangs was called %d times", s.asked)
		}
		s.mu.Unlock()
		time.Sleep(time.Second + time.Minute)
		if b := w.written(); b.Outcome != Incomplete || b.Ended.Sub(b.Started) > time.Minute {
			t.Errorf("the report: %s after %v", b.Outcome, b.Ended.Sub(b.Started))
		}
		within(t, time.Minute+finishTimeout+closeTimeout, "the end", func() {
			r := <-ran
			if r.Outcome != Incomplete || !strings.Contains(string(r.JSON()), "Inputs[0] (*drain.stubborn) did not return") {
				t.Errorf("%s", r.JSON())
			}
		})
		if !strings.Contains(log.String(), "Lifecycle.Notice did not return") {
			t.Errorf("the log does not name the Notice: %s", log)
		}
	})
}

// TestHandOverHangs: an input that ignores its context does not delay the successor.
func TestHandOverHangs(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		s := &stubborn{release: make(chan struct{})}
		defer func() { close(s.release); synctest.Wait() }()
		w.listeners = []Input{s}
		d, sp := w.start(Options{})
		w.append(sp, 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		within(t, time.Minute+5*time.Second, "HandOver", func() {
			if err := d.HandOver(ctx); err == nil || !strings.Contains(err.Error(), "did not return") {
				t.Errorf("%v", err)
			}
		})
		if err := sp.Stats().Err; !errors.Is(err, spool.ErrClosed) {
			t.Errorf("the spool was not closed: %v", err)
		}
	})
}

// TestHandOverOnASlowDisk: listeners end although the disk does not yet take the note of what the successor may hold.
func TestHandOverOnASlowDisk(t *testing.T) {
	w := newWorld(t)
	var held atomic.Bool
	release := make(chan struct{})
	defer vfs.Interpose(func(op vfs.Op) error {
		if held.Load() && op.Kind == vfs.OpRename && strings.HasPrefix(filepath.Base(op.Path), "life.") {
			<-release
		}
		return nil
	})()
	left := make(left)
	w.listeners = []Input{left}
	d, _ := w.start(Options{})
	held.Store(true)
	done := make(chan error)
	go func() { done <- d.HandOver(t.Context()) }()
	select {
	case <-left:
	case <-time.After(time.Minute):
		t.Error("the listener was not asked to end")
	}
	select {
	case err := <-done:
		t.Errorf("HandOver has ended without the note: %v", err)
	default:
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// left is closed by Shutdown.
type left chan struct{}

func (l left) Shutdown(context.Context) error { close(l); return nil }

// wild panics everywhere.
type wild struct{}

func (wild) Notice(context.Context) (Notice, bool, error)               { panic("Notice") }
func (wild) Update(context.Context, Status)                             { panic("Update") }
func (wild) Finish(context.Context, *Report) (retained bool, err error) { panic("Finish") }
func (wild) Shutdown(context.Context) error                             { panic("Shutdown") }

// TestPanicsCounted: each panic in the program's own code is logged with its stack and counted in the report.
func TestPanicsCounted(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.listeners = []Input{wild{}}
		log := new(lines)
		boom := Step{Name: "boom", Run: func(context.Context) error { panic("Step") }}
		d, sp := w.start(Options{Timeout: time.Minute, Lifecycles: []Lifecycle{wild{}}, Before: []Step{boom}, Logger: slog.New(slog.NewTextHandler(log, nil))})
		w.append(sp, 10)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		r, err := d.RunWith(ctx, nil)
		if err != nil || r.Panics < 4 || r.Outcome != Stopped {
			t.Errorf("%v, %d panics, %s", err, r.Panics, r.Outcome)
		}
		for _, want := range []string{"Notice", "Update", "Finish", "Shutdown", "Step"} {
			if !strings.Contains(log.String(), "panic: "+want) && !strings.Contains(log.String(), "panicked: "+want) || !strings.Contains(log.String(), "misuse_test.go") {
				t.Errorf("the log lacks the panic of %s", want)
			}
		}
	})
}

// lines is a log in memory.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// deafPut is a destination whose Put ignores its context.
type deafPut struct {
	ship.Destination
	release chan struct{}
}

func (d deafPut) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	<-d.release
	return d.Destination.Put(ctx, o, body)
}

// TestDeafPut: the drain returns within its deadline, reports what is pending, and closes the spool.
func TestDeafPut(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		deaf := deafPut{shiptest.Memory(), make(chan struct{})}
		defer func() { close(deaf.release); synctest.Wait() }()
		sp, err := spool.Open(filepath.Join(dir, "a"), &spool.Options{Class: "a", Destinations: []string{"deaf"}, SegmentBytes: 64 << 10, MaxBytes: 256 << 20})
		if err != nil {
			t.Fatal(err)
		}
		sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"deaf": deaf}})
		if err != nil {
			t.Fatal(err)
		}
		d, err := New(&Options{Dir: dir, Timeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Add(Class{Shipper: sh}); err != nil {
			t.Fatal(err)
		}
		(&world{t: t}).append(sp, 10)
		within(t, time.Minute+closeTimeout, "Drain", func() {
			r, err := d.Drain(t.Context(), "test")
			if err != nil || r.Outcome != Incomplete || r.Classes["a"].Destinations["deaf"].Pending.Records != 10 {
				t.Errorf("%v: %s", err, r.JSON())
			}
		})
		if err := sp.Stats().Err; !errors.Is(err, spool.ErrClosed) {
			t.Errorf("the spool was not closed: %v", err)
		}
		if _, err := os.Stat(filepath.Join(dir, "a", "clean")); err != nil {
			t.Errorf("the end was not orderly: %v", err)
		}
	})
}
