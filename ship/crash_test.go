package ship_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// crash stops everything at its k-th passage, before or after a Put. What is being sent then arrives or not, and nothing more
// is sent.
type crash struct {
	mu     sync.Mutex
	left   int
	struck chan struct{} // closed at the crash
	buried chan struct{} // closed when the rest of the process may end
}

func newCrash(k int) *crash {
	return &crash{left: k, struck: make(chan struct{}), buried: make(chan struct{})}
}

func (c *crash) pass(context.Context) error {
	c.mu.Lock()
	c.left--
	if c.left == 0 {
		close(c.struck)
	}
	dead := c.left <= 0
	c.mu.Unlock()
	if !dead {
		return nil
	}
	<-c.buried
	return errors.New("this process is dead")
}

func (c *crash) wrap(d destinations) destinations {
	w := destinations{}
	for name := range d {
		w[name] = shiptest.Faulty(d[name], func(call shiptest.Call) shiptest.Fault {
			if call.Op != shiptest.Put {
				return shiptest.Fault{}
			}
			return shiptest.Fault{Before: c.pass, After: c.pass}
		})
	}
	return w
}

// live delivers eleven segments in one process, which ends at its k-th passage, and returns a copy of its disk at that
// moment; "" if it finished.
func live(t *testing.T, dir string, d destinations, instance string, k int) (left string) {
	t.Helper()
	c := newCrash(k)
	w := c.wrap(d)
	b := openBench(t, dir, w, instance)
	b.segments(11, 3)
	b.ship(w, bubble, func(o *ship.Options) { o.Workers = 2 })
	done := make(chan error, 1)
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	go func() {
		err := b.s.Flush(ctx)
		for name := range w {
			err = errors.Join(err, b.s.Finalize(ctx, name))
		}
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatal(err)
		}
		close(c.buried)
	case <-c.struck:
		// Let everything finish that needs no destination: any state that the disk can be in at this point is valid.
		synctest.Wait()
		left = filepath.Join(t.TempDir(), "left")
		if err := os.CopyFS(left, os.DirFS(dir)); err != nil {
			t.Fatal(err)
		}
		close(c.buried)
		cancel()
		<-done
	}
	b.close()
	return left
}

// TestCrashEverywhere ends a process before and after each Put of data, manifests and heads, including final ones, at both
// destinations. Whether the same host continues, another one, or one that crashes as well, there is no gap, no fork, and
// nothing twice. Each run tests a sample of the points; PENSTOCK_CRASHES=all tests every one.
func TestCrashEverywhere(t *testing.T) {
	points, step := 0, 9
	if os.Getenv("PENSTOCK_CRASHES") == "all" {
		step = 1
	}
	for i, c := range []struct {
		name  string
		next  string // host
		twice bool
	}{{"restart", "host-a", false}, {"another host", "host-b", false}, {"crash again", "host-a", true}} {
		for k := 1 + i*step/3; ; k += step {
			through := false
			synctest.Test(t, func(t *testing.T) { through = crashAt(t, k, c.next, c.twice) })
			if t.Failed() {
				t.Fatalf("%s, crash at point %d", c.name, k)
			}
			if through {
				break
			}
			points++
		}
	}
	t.Logf("%d crashes", points)
	if points*step < 150 { // there are 200 to 240, depending on how much each manifest covers
		t.Errorf("only %d crashes, of each %d-th place: the test has lost its subject", points, step)
	}
}

func crashAt(t *testing.T, k int, next string, twice bool) (through bool) {
	defer func() {
		if t.Failed() {
			t.Logf("crash at point %d, then %s", k, next)
		}
	}()
	s3, idc := shiptest.Memory(), shiptest.Memory()
	d := destinations{"s3": s3, "idc": idc}
	dir := live(t, t.TempDir(), d, "host-a", k)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(s3.Keys())
		}
	})
	if dir == "" {
		return true
	}
	if twice {
		if left := live(t, dir, d, next, 1+k%7); left != "" {
			dir = left
		}
	}
	b := openBench(t, dir, d, next)
	b.segments(1, 3)
	b.ship(d, bubble)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(b.log.String(), b.s.Stats())
		}
	})
	b.flush()
	for name := range d {
		if err := b.s.Finalize(t.Context(), name); err != nil {
			t.Error(err)
		}
	}
	var epochs []uint32
	for e := range b.sp.Stats().Epoch {
		epochs = append(epochs, e+1)
	}
	b.audit(s3, epochs...)
	b.audit(idc, epochs...)
	b.close()
	r, err := audit.Run(t.Context(), &audit.Options{Deep: true, Places: []audit.Place{{Name: "s3", Destination: s3}, {Name: "idc", Destination: idc}}})
	if err != nil || r.Verdict != audit.Complete {
		t.Error(fmt.Sprint(r), err)
	}
	return false
}
