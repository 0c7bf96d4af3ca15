package drain

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is one class with two destinations in memory, a good one and one that faults can be planned for.
type world struct {
	t         *testing.T
	dir       string
	good      *shiptest.MemoryDestination
	other     *shiptest.MemoryDestination
	faulty    *shiptest.FaultyDestination
	bothDown  bool // good is down too
	maxBytes  int64
	listeners []Input
}

// freeze keeps segments in the spool that are delivered before the drain begins.
func freeze(t *testing.T, sp *spool.Spool) {
	t.Helper()
	if err := sp.Shelf().Freeze("a test drains"); err != nil {
		t.Fatal(err)
	}
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir(), good: shiptest.Memory(), other: shiptest.Memory()}
	w.faulty = shiptest.Faulty(w.other, nil)
	return w
}

// start opens the spool and hands everything to a new Drainer.
func (w *world) start(o Options) (*Drainer, *spool.Spool) {
	w.t.Helper()
	sp, err := spool.Open(filepath.Join(w.dir, "vpn"), &spool.Options{
		Class: "vpn", Destinations: []string{"good", "other"}, SegmentBytes: 64 << 10, MaxBytes: cmp.Or(w.maxBytes, 256<<20),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	var good ship.Destination = w.good
	if w.bothDown {
		good = shiptest.Faulty(w.good, down)
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"good": good, "other": w.faulty}})
	if err != nil {
		w.t.Fatal(err)
	}
	o.Dir = w.dir
	d, err := New(&o)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := d.Add(Class{Shipper: sh, Inputs: w.listeners}); err != nil {
		w.t.Fatal(err)
	}
	return d, sp
}

func (w *world) append(sp *spool.Spool, n int) {
	w.t.Helper()
	for i := range n {
		rec := segment.Record{Time: time.Now().UnixNano(), Data: fmt.Appendf(nil, "record %d %s", i, strings.Repeat("x", 200))}
		if _, err := sp.Append(context.Background(), []segment.Record{rec}); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *world) written() Report {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.dir, "report.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

var errDown = errors.New("down for maintenance")

func down(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errDown) }

func TestDrainComplete(t *testing.T) {
	w := newWorld(t)
	d, sp := w.start(Options{Timeout: time.Minute})
	w.append(sp, 2000)
	r, err := d.Drain(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	if r.Outcome != Delivered || r.ExitCode() != 0 || len(r.Left) != 0 {
		t.Fatalf("%s", r.JSON())
	}
	c := w.written().Classes["vpn"]
	if c.Received.Records != 2000 || c.Kept != c.Received {
		t.Errorf("balance: %+v", c)
	}
	for dest, dr := range c.Destinations {
		if dr.Delivered != c.Kept || dr.Pending.Records != 0 || !dr.Verified {
			t.Errorf("%s: %+v", dest, dr)
		}
	}
	if _, yes, err := Interrupted(w.dir); yes || err != nil {
		t.Errorf("journal is still there after the report: %v %v", yes, err)
	}
	// The report is at both destinations, and a later start finds an empty spool.
	for _, m := range []*shiptest.MemoryDestination{w.good, w.other} {
		n := 0
		for e, err := range m.List(t.Context(), "_report/") {
			if err != nil {
				t.Fatal(err)
			}
			n++
			_ = e
		}
		if n != 1 {
			t.Errorf("%d reports at a destination", n)
		}
	}
	d, sp = w.start(Options{})
	if st := sp.Stats(); st.Segments != 0 || st.Pending["good"].Records != 0 {
		t.Errorf("after the drain: %+v", st)
	}
	if r, err = d.Stop(t.Context(), "test"); err != nil || r.Outcome != Delivered {
		t.Errorf("stopping an empty spool: %v %s", err, r.JSON())
	}
}

func TestStopKeeps(t *testing.T) {
	w := newWorld(t)
	w.faulty.SetPlan(down)
	d, sp := w.start(Options{})
	w.append(sp, 500)
	r, err := d.Stop(t.Context(), "test")
	if err != nil || r.Outcome != Stopped || r.ExitCode() != 3 {
		t.Fatalf("%v %s", err, r.JSON())
	}
	if again, _ := d.Drain(t.Context(), "again"); again != r {
		t.Error("a second call ends the process again")
	}
	w.faulty.SetPlan(nil)
	d, _ = w.start(Options{Timeout: time.Minute})
	if r, err = d.Drain(t.Context(), "test"); err != nil || r.Outcome != Delivered || r.Classes["vpn"].Kept.Records != 500 {
		t.Fatalf("%v %s", err, r.JSON())
	}
}

func TestDrainIncomplete(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		w.faulty.SetPlan(down)
		d, sp := w.start(Options{Timeout: 2 * time.Second, Reserve: time.Second})
		w.append(sp, 1000)
		r, err := d.Drain(t.Context(), "test")
		if err != nil || r.Outcome != Incomplete || r.ExitCode() != 4 {
			t.Fatalf("%v %s", err, r.JSON())
		}
		dests := r.Classes["vpn"].Destinations
		if !dests["good"].Verified || dests["good"].Pending.Records != 0 {
			t.Errorf("a dead destination held up the other: %+v", dests["good"])
		}
		left := uint64(0)
		for _, l := range r.Left {
			if l.Destination != "other" || !strings.Contains(l.Why, errDown.Error()) {
				t.Errorf("leftover %+v", l)
			}
			left += l.Records
		}
		if left != 1000 || dests["other"].Pending.Records != 1000 {
			t.Errorf("left %d, pending %+v", left, dests["other"])
		}
	})
}

// TestVerifyMismatch: an object that was altered after its delivery makes the drain a mismatch, and the spool keeps it.
func TestVerifyMismatch(t *testing.T) {
	w := newWorld(t)
	d, sp := w.start(Options{Timeout: 20 * time.Second})
	hit := false
	w.faulty.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if hit || c.Op != shiptest.Put || !strings.HasPrefix(c.Key, "class=") {
			return shiptest.Fault{}
		}
		hit = true
		return shiptest.Fault{After: func(context.Context) error { w.other.Set(c.Key, []byte("other bytes")); return nil }}
	})
	freeze(t, sp) // so that it is still there when the drain begins
	w.append(sp, 1000)
	r, err := d.Drain(t.Context(), "test")
	if err != nil || r.Outcome != Mismatch || r.ExitCode() != 5 {
		t.Fatalf("%v %s", err, r.JSON())
	}
	if !r.Classes["vpn"].Destinations["good"].Verified || r.Classes["vpn"].Destinations["other"].Verified {
		t.Errorf("verified: %+v", r.Classes["vpn"].Destinations)
	}
}

// TestVerifyRestores: an object that vanished after its delivery is put again during Verify.
func TestVerifyRestores(t *testing.T) {
	w := newWorld(t)
	d, sp := w.start(Options{Timeout: 20 * time.Second})
	hit := false
	w.faulty.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if hit || c.Op != shiptest.Put || !strings.HasPrefix(c.Key, "class=") {
			return shiptest.Fault{}
		}
		hit = true
		return shiptest.Fault{After: func(context.Context) error { w.other.Remove(c.Key); return nil }}
	})
	freeze(t, sp) // so that it is still there when the drain begins
	w.append(sp, 1000)
	if r, err := d.Drain(t.Context(), "test"); err != nil || r.Outcome != Delivered {
		t.Fatalf("%v %s", err, r.JSON())
	}
}

// TestVerifyClosesChains: if one destination fails while it is verified, the chain at the other is still closed,
// whichever of the two is asked first.
func TestVerifyClosesChains(t *testing.T) {
	for range 6 {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			asked := false
			w.faulty.SetPlan(func(c shiptest.Call) shiptest.Fault {
				if asked = asked || c.Op == shiptest.Stat; asked && c.Op == shiptest.Put && strings.HasPrefix(c.Key, "_manifest/") {
					return shiptest.FailBefore(errDown)
				}
				return shiptest.Fault{}
			})
			d, sp := w.start(Options{Timeout: time.Minute})
			freeze(t, sp) // so that there is something to ask about
			w.append(sp, 100)
			r, err := d.Drain(t.Context(), "test")
			if err != nil || r.Outcome != Incomplete || !asked {
				t.Fatalf("%v %s", err, r.JSON())
			}
			if dests := r.Classes["vpn"].Destinations; !dests["good"].Verified || dests["other"].Verified {
				t.Fatalf("%s", r.JSON())
			}
		})
	}
}

type brokenListener struct{}

func (brokenListener) Shutdown(context.Context) error { panic("listener broke") }

// TestStepsAreGuarded: neither a panic in a listener nor a failing step of the program stops the rest.
func TestStepsAreGuarded(t *testing.T) {
	w := newWorld(t)
	w.listeners = []Input{brokenListener{}}
	var order []string
	step := func(name string, err error) Step {
		return Step{name, func(context.Context) error { order = append(order, name); return err }}
	}
	d, sp := w.start(Options{
		Before: []Step{step("a", errDown), {"b", func(context.Context) error { panic("b broke") }}, step("c", nil)},
		After:  []Step{step("z", nil)},
	})
	w.append(sp, 10)
	r, err := d.Stop(t.Context(), "test")
	if err != nil || r.Classes["vpn"].Kept.Records != 10 || fmt.Sprint(order) != "[a c z]" {
		t.Fatalf("%v %v %s", err, order, r.JSON())
	}
	for _, want := range []string{"step a: down", "step b: panic: b broke"} {
		if !strings.Contains(strings.Join(r.Errors, "\n"), want) {
			t.Errorf("errors %q lack %q", r.Errors, want)
		}
	}
	if !strings.Contains(string(r.JSON()), "listener broke") {
		t.Error("the broken listener is not in the report")
	}
}

// TestInterrupted: the next start knows of a drain that was killed before its report, and can resume it.
func TestInterrupted(t *testing.T) {
	w := newWorld(t)
	died := errors.New("killed")
	d, sp := w.start(Options{Before: []Step{{"die", func(context.Context) error { return died }}}})
	w.append(sp, 10)
	if err := writeJournal(w.dir, vfs.NewReserve(vfs.OS(), "", 0), journal{Version: 1, Phase: "ship", Trigger: "signal terminated", Started: time.Now()}); err != nil {
		t.Fatal(err)
	}
	trigger, yes, err := Interrupted(w.dir)
	if !yes || err != nil || trigger != "signal terminated" {
		t.Fatal(trigger, yes, err)
	}
	r, err := d.Resume(trigger)
	if err != nil || r.Outcome != Delivered || r.Trigger != "resumed: signal terminated" {
		t.Fatalf("%v %s", err, r.JSON())
	}
	if _, yes, _ := Interrupted(w.dir); yes {
		t.Error("still interrupted after the report")
	}
}

// TestRunResumes: Run resumes a drain that was interrupted, for a program that does not ask, and closes its inputs.
func TestRunResumes(t *testing.T) {
	w := newWorld(t)
	d, sp := w.start(Options{})
	w.append(sp, 10)
	if err := writeJournal(w.dir, vfs.NewReserve(vfs.OS(), "", 0), journal{Version: 1, Phase: "verify", Trigger: "signal terminated", Started: time.Now().Add(-time.Hour)}); err != nil {
		t.Fatal(err)
	}
	r, err := d.RunWith(t.Context(), nil)
	if err != nil || r.Intent != Drain || r.Outcome != Delivered || r.Trigger != "resumed: signal terminated" {
		t.Fatalf("%v %s", err, r.JSON())
	}
	if again, err := d.RunWith(t.Context(), nil); again != r || err != nil {
		t.Errorf("Run after it: %p, %v", again, err)
	}
}

// TestRunBesidePredecessor: a successor's Run does not resume the drain of the predecessor that still runs.
func TestRunBesidePredecessor(t *testing.T) {
	w := newWorld(t)
	d, _ := w.start(Options{OnSignal: Stop})
	if err := writeJournal(w.dir, vfs.NewReserve(vfs.OS(), "", 0), journal{Version: 1, Phase: "quiesce", Trigger: "notice", Started: time.Now().Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the test is over"))
	r, err := d.RunWith(ctx, nil)
	if err != nil || r.Intent != Stop {
		t.Fatalf("%v %s", err, r.JSON())
	}
}

// TestRunUnreadable: a disk that does not say whether a drain was interrupted does not end the service.
func TestRunUnreadable(t *testing.T) {
	w := newWorld(t)
	d, _ := w.start(Options{OnSignal: Stop})
	if err := os.Mkdir(journalPath(w.dir), 0o700); err != nil { // reading a directory fails with EISDIR
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the test is over"))
	r, err := d.RunWith(ctx, nil)
	if err != nil || r.Intent != Stop || r.Trigger != "the test is over" {
		t.Fatalf("%v %s", err, r.JSON())
	}
}

func TestReady(t *testing.T) {
	w := newWorld(t)
	w.faulty.SetPlan(down)
	d, _ := w.start(Options{})
	get := func(path string) (int, string) {
		rec := httptest.NewRecorder()
		d.Handler().ServeHTTP(rec, httptest.NewRequest("GET", path, nil))
		return rec.Code, rec.Body.String()
	}
	for path, want := range map[string]int{"/livez": 200, "/readyz": 200, "/readyz/vpn": 200, "/readyz/web": 404, "/other": 404} {
		if code, body := get(path); code != want {
			t.Errorf("%s: %d %s", path, code, body)
		}
	}
	d.Down("web", errDown)
	if code, body := get("/readyz"); code != 503 || !strings.Contains(body, "web") {
		t.Errorf("with a class down: %d %s", code, body)
	}
	if code, _ := get("/readyz/web"); code != 503 {
		t.Errorf("a class that is down: %d", code)
	}
	d.Down("web", errors.New("put https://ops:hunter2@store/x: refused\nAuthorization: hunter2"))
	if code, body := get("/readyz/web"); code != 503 || strings.Contains(body, "hunter2") || !strings.Contains(body, "refused") {
		t.Errorf("an answer with a credential: %d %s", code, body)
	}
	if code, _ := get("/readyz/vpn"); code != 200 {
		t.Errorf("a class that is down makes another unready: %d", code)
	}
	r, err := d.Stop(t.Context(), "test")
	if err != nil || r.Outcome != Stopped || r.Classes["web"].Err == "" {
		t.Errorf("report with a class down: %v %s", err, r.JSON())
	}
	if code, _ := get("/readyz"); code != 503 {
		t.Error("ready while ending")
	}
	if code, _ := get("/readyz/other"); code != 404 {
		t.Error("there is a class that nobody knows while ending")
	}
	none, err := New(&Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	if err := none.Ready(""); err == nil || strings.Contains(err.Error(), `""`) {
		t.Errorf("before any class runs: %v", err)
	}
}

// TestAddRefuses: two classes of one name would have one entry in the report, and one verdict.
func TestAddRefuses(t *testing.T) {
	w := newWorld(t)
	d, _ := w.start(Options{})
	other, err := spool.Open(t.TempDir(), &spool.Options{Class: "vpn", Destinations: []string{"good"}, SegmentBytes: 64 << 10, MaxBytes: 256 << 20})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	sh, err := ship.New(other, &ship.Options{Destinations: map[string]ship.Destination{"good": w.good}})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.Add(Class{Shipper: sh}); err == nil || !strings.Contains(err.Error(), `"vpn" was added before`) {
		t.Errorf("a second class of that name: %v", err)
	}
	if err := d.Add(Class{}); err == nil || !strings.Contains(err.Error(), "Shipper") {
		t.Errorf("a class without a shipper: %v", err)
	}
	if r, err := d.Stop(t.Context(), "test"); err != nil || len(r.Classes) != 1 {
		t.Errorf("%v, %v", r, err)
	}
	if code := (*Report)(nil).ExitCode(); code != 1 {
		t.Errorf("no report: exit code %d", code)
	}
}

func TestOptions(t *testing.T) {
	_, err := New(&Options{OnSignal: "explode", Timeout: time.Second, Reserve: time.Minute})
	for _, want := range []string{"Dir", "explode", "Reserve"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v does not name %s", err, want)
		}
	}
}
