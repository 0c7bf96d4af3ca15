package drain

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// orphan makes a spool of 2,000 records whose process is gone, as a kill leaves it. The good destination has some of it.
func (w *world) orphan() string {
	w.t.Helper()
	d, sp := w.start(Options{})
	w.append(sp, 1000)
	w.faulty.SetPlan(down)
	if err := sp.Seal(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	for {
		changed := sp.Shelf().Changed()
		if c, err := sp.Shelf().Chain("good"); err != nil {
			w.t.Fatal(err)
		} else if len(sp.Shelf().Sealed(c.Segment, 1)) == 0 {
			break
		}
		<-changed
	}
	d.halt()
	<-d.all()[0].done
	w.append(sp, 1000)
	dir := filepath.Join(w.t.TempDir(), "orphan")
	err := fs.ErrNotExist
	for errors.Is(err, fs.ErrNotExist) { // the spool is still open, and has removed a spare segment
		err = errors.Join(os.RemoveAll(dir), os.CopyFS(dir, os.DirFS(filepath.Join(w.dir, "vpn"))))
	}
	if err := errors.Join(err, sp.Close()); err != nil {
		w.t.Fatal(err)
	}
	w.faulty.SetPlan(nil)
	return dir
}

// adopt is Adopt with short times.
func (w *world) adopt(dir, work string, change ...func(*AdoptOptions)) (*Report, error) {
	o := &AdoptOptions{
		Work: work, Instance: "adopter", Destinations: map[string]ship.Destination{"good": w.good, "other": w.faulty, "more": shiptest.Memory()},
		MaxBytes: 256 << 20, Timeout: time.Minute,
		Ship: ship.Options{Backoff: func(int, float64) time.Duration { return 5 * time.Millisecond }, ProbeInterval: 5 * time.Millisecond},
	}
	for _, f := range change {
		f(o)
	}
	return Adopt(w.t.Context(), dir, o)
}

// audited checks that both destinations hold all of the orphan, and that their chains are final.
func (w *world) audited(records uint64) {
	w.t.Helper()
	r, err := audit.Run(w.t.Context(), &audit.Options{Places: []audit.Place{{Name: "good", Destination: w.good}, {Name: "other", Destination: w.other}}})
	if err != nil {
		w.t.Fatal(err)
	}
	if r.Verdict != audit.Complete || len(r.Chains) != 2 || r.Chains[0].Records != records || r.Chains[1].Records != records {
		var b strings.Builder
		_ = r.WriteText(&b)
		w.t.Fatal(b.String())
	}
}

func hashTree(t *testing.T, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		fmt.Fprintf(&b, "%s %x\n", path, data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// TestAdopt: everything is delivered and verified, the volume is marked, the working files are removed, and a second
// adoption reports that there is nothing to do.
func TestAdopt(t *testing.T) {
	w := newWorld(t)
	dir, work := w.orphan(), t.TempDir()
	moved := 0
	r, err := w.adopt(dir, work, func(o *AdoptOptions) { o.Update = func(Status) { moved++ } })
	if err != nil || r.Outcome != Delivered || r.Trigger != "adoption of "+dir {
		t.Fatalf("%v\n%s", err, r.JSON())
	}
	c := r.Classes["vpn"]
	if c.Epoch != 2 || c.Kept.Records != 2000 || len(c.Destinations) != 2 || moved == 0 {
		t.Errorf("%d %+v", moved, c)
	}
	w.audited(2000)
	if r, err := w.adopt(dir, work); r != nil || !errors.Is(err, spool.ErrAdopted) {
		t.Errorf("once more: %v, %v", r, err)
	}
	left, err := os.ReadDir(work)
	if err != nil || len(left) != 1 || !strings.HasSuffix(left[0].Name(), ".report.json") {
		t.Errorf("left in the work directory: %v, %v", left, err)
	}
	if _, err := w.adopt(t.TempDir(), work); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no spool: %v", err)
	}
}

// TestAdoptDeadDestination: the report says what one destination lacks; the volume stays as it was, and is completed later,
// by another host, without duplicates.
func TestAdoptDeadDestination(t *testing.T) {
	for _, first := range []bool{false, true} { // the claims are made at the first one
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			dir, works := w.orphan(), [2]string{filepath.Join(w.dir, "work1"), filepath.Join(w.dir, "work2")}
			before := hashTree(t, dir)
			faulty := shiptest.Faulty(w.good, nil)
			dead := w.faulty
			if first {
				dead = faulty
			}
			dead.SetPlan(down)
			swap := func(o *AdoptOptions) {
				o.Destinations["good"], o.Timeout, o.StallTimeout = faulty, 30*time.Minute, 10*time.Minute
				o.Ship.Backoff, o.Ship.ProbeInterval = func(int, float64) time.Duration { return time.Second }, time.Second
			}
			r, err := w.adopt(dir, works[0], swap)
			if err != nil || r.Outcome != Incomplete || len(r.Left) == 0 {
				t.Fatalf("%v\n%s", err, r.JSON())
			}
			good := r.Classes["vpn"].Destinations["good"]
			if other := r.Classes["vpn"].Destinations["other"]; other.Pending.Records == 0 || first == good.Verified {
				t.Errorf("%s", r.JSON())
			}
			if hashTree(t, dir) != before {
				t.Error("the volume was changed")
			}
			dead.SetPlan(nil)
			r, err = w.adopt(dir, works[1], func(o *AdoptOptions) { o.Ship.OwnerTimeout = time.Nanosecond })
			if err != nil || r.Outcome != Delivered {
				t.Fatalf("%v\n%s", err, r.JSON())
			}
			w.audited(2000)
		})
	}
}

var everyCall = flag.Bool("adopt.all", false, "an adopter dies at each of its calls, not at some")

// TestAdoptDies: an adopter ends at each of its calls to a destination, before or after the call takes effect. The same one
// or another continues, and nothing is duplicated.
func TestAdoptDies(t *testing.T) {
	w := newWorld(t)
	dir := w.orphan()
	goodBefore, otherBefore := snapshot(w.good), snapshot(w.other)
	step := 6
	if *everyCall {
		step = 1
	}
	for n, died := 1, true; died; n += step {
		died = false
		w.good, w.other = restore(goodBefore), restore(otherBefore)
		for _, after := range []bool{false, true} {
			ctx, kill := context.WithCancel(t.Context())
			calls := 0
			plan := func(shiptest.Call) shiptest.Fault {
				if calls++; calls != n {
					return shiptest.Fault{}
				}
				died = true
				kill()
				if after {
					return shiptest.FailAfter(errDown)
				}
				return shiptest.FailBefore(errDown)
			}
			// One kind of call is counted for both: the faults are planned under one lock each, so take one destination at a time.
			place := w.good
			if n/step%2 == 0 {
				place = w.other
			}
			faulty := shiptest.Faulty(place, plan)
			work := t.TempDir()
			_, _ = Adopt(ctx, dir, &AdoptOptions{
				Work: work, Instance: "first", MaxBytes: 256 << 20, Timeout: time.Minute,
				Destinations: map[string]ship.Destination{"good": choose(place == w.good, faulty, w.good), "other": choose(place == w.other, faulty, w.other)},
			})
			kill()
			if _, err := os.Stat(filepath.Join(dir, "adopted")); err == nil {
				if err := os.Remove(filepath.Join(dir, "adopted")); err != nil {
					t.Fatal(err)
				}
			}
			w.faulty = shiptest.Faulty(w.other, nil)
			if n/step%3 == 0 {
				work = t.TempDir() // another host
			}
			r, err := w.adopt(dir, work, func(o *AdoptOptions) { o.Ship.OwnerTimeout = time.Nanosecond })
			if err != nil || r.Outcome != Delivered {
				t.Fatalf("call %d: %v\n%s", n, err, r.JSON())
			}
			w.audited(2000)
			if err := os.Remove(filepath.Join(dir, "adopted")); err != nil {
				t.Fatal(err)
			}
			w.good, w.other = restore(goodBefore), restore(otherBefore)
		}
	}
}

func choose(yes bool, a, b ship.Destination) ship.Destination {
	if yes {
		return a
	}
	return b
}

// snapshot copies what a destination holds.
func snapshot(m *shiptest.MemoryDestination) map[string][]byte {
	all := map[string][]byte{}
	for _, key := range m.Keys() {
		all[key] = m.Bytes(key)
	}
	return all
}

func restore(all map[string][]byte) *shiptest.MemoryDestination {
	m := shiptest.Memory()
	for key, body := range all {
		m.Set(key, body)
	}
	return m
}
