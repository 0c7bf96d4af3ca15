package ship_test

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// shipHook notes the calls of a Shipper.
type shipHook struct {
	mu       sync.Mutex
	puts     map[string]int // by the kind of key
	failed   int
	through  uint64
	verified int
	retried  []ship.Retried
}

func (h *shipHook) OnPut(p ship.Put) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if p.Err != nil {
		h.failed++
		return
	}
	h.puts[p.Object.Key[:strings.IndexAny(p.Object.Key, "=/")]]++
}

func (h *shipHook) OnAcked(a ship.Acked) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.through = a.Chain.Through
}

func (h *shipHook) OnVerified(ship.Verified) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.verified++
	panic("a hook")
}

func (h *shipHook) OnRetried(r ship.Retried) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.retried = append(h.retried, r)
}

// TestHooks: a Hook is called for each upload, failure, acknowledgement and confirmation, and a panic of a Hook has no other
// effect.
func TestHooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		failing := true
		f := shiptest.Faulty(shiptest.Memory(), func(c shiptest.Call) shiptest.Fault {
			if isData(c) && failing {
				failing = false
				return shiptest.FailBefore(errors.New("down"))
			}
			return shiptest.Fault{}
		})
		d := destinations{"s3": f}
		b := newBench(t, d)
		defer b.close()
		h := &shipHook{puts: map[string]int{}}
		b.segments(5, 10)
		if err := b.sp.Shelf().Freeze("for Verify"); err != nil {
			t.Fatal(err)
		}
		b.ship(d, bubble, func(o *ship.Options) { o.Hooks, o.Workers = []ship.Hook{h}, 1 })
		b.flush()
		if _, err := b.s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		h.mu.Lock()
		defer h.mu.Unlock()
		if h.puts["class"] != 5 || h.failed != 1 || h.through != 50 || h.verified < 6 {
			t.Errorf("told of %v, %d failures, through %d, %d confirmed", h.puts, h.failed, h.through, h.verified)
		}
		if len(h.retried) != 1 || h.retried[0].Kind != ship.FailureTransient || h.retried[0].Attempt != 1 || h.retried[0].Wait < time.Millisecond {
			t.Errorf("told of the retries %+v", h.retried)
		}
		if n := b.s.Stats()["s3"].Panics; n != uint64(h.verified) {
			t.Errorf("%d panics are counted", n)
		}
	})
}

// TestHooksChecked: a Hook without any of the methods is refused.
func TestHooksChecked(t *testing.T) {
	d := destinations{"s3": shiptest.Memory()}
	b := newBench(t, d)
	if _, err := ship.New(b.sp, &ship.Options{Destinations: d, Hooks: []ship.Hook{7}}); err == nil || !strings.Contains(err.Error(), "OnRetried") {
		t.Error(err)
	}
}

// serialHook notes whether two of its calls overlap, and panics for one destination.
type serialHook struct {
	running, overlaps atomic.Int32
	calls             atomic.Int32
}

func (h *serialHook) OnPut(p ship.Put) {
	h.calls.Add(1)
	if h.running.Add(1) > 1 {
		h.overlaps.Add(1)
	}
	time.Sleep(time.Millisecond) // on the bubble's clock: every other goroutine runs until it blocks
	h.running.Add(-1)
	if p.Destination == "b" {
		panic("a hook")
	}
}

func (h *serialHook) OnAcked(a ship.Acked) { h.OnPut(ship.Put{Destination: a.Destination}) }

// TestHooksOneAtATime: the Hooks of a Shipper are called one after the other for all its destinations, also for one that has
// joined. A panic is counted for its own destination.
func TestHooksOneAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := destinations{"a": shiptest.Memory(), "b": shiptest.Memory(), "c": shiptest.Memory()}
		b := newBench(t, d)
		defer b.close()
		h := &serialHook{}
		b.ship(d, bubble, func(o *ship.Options) { o.Hooks = []ship.Hook{h} })
		b.segments(5, 10)
		if err := b.s.Join("d", shiptest.Memory()); err != nil {
			t.Fatal(err)
		}
		b.segments(5, 10)
		b.flush()
		if err := b.stop(); err != nil { // waits for the hooks
			t.Error(err)
		}
		if n := h.overlaps.Load(); n > 0 || h.calls.Load() < 40 {
			t.Errorf("%d of %d calls ran while another one did", n, h.calls.Load())
		}
		for name, s := range b.s.Stats() {
			if (s.Panics > 0) != (name == "b") {
				t.Errorf("%d panics are counted for %s", s.Panics, name)
			}
		}
	})
}
