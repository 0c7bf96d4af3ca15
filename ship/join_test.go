package ship_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestJoin: a destination that joins a running Shipper gets all records that are still in the spool and all later ones. Its
// chain is complete from there on, and the other destinations are not affected.
func TestJoin(t *testing.T) {
	first, second, third := shiptest.Memory(), shiptest.Memory(), shiptest.Memory()
	all := destinations{"b": first}
	b := newBench(t, all)
	b.freeze() // so that it gets everything, and audit can count
	b.segments(3, 10)
	b.ship(all)
	b.flush()
	b.append(5)
	if err := b.s.Join("a", second); err != nil {
		t.Fatal(err)
	}
	if err := b.s.Join("c", third, ship.NewLimiter(1<<30)); err != nil {
		t.Fatal(err)
	}
	b.segments(2, 10)
	b.flush()
	for name, d := range map[string]*shiptest.MemoryDestination{"a": second, "b": first, "c": third} {
		if s := b.s.Stats()[name]; s.Pending.Records != 0 || s.State != ship.StateOK {
			t.Errorf("%s: %+v", name, s)
		}
		b.audit(d)
	}
	b.until("each head is at both other destinations", func() bool {
		n := 0
		for _, d := range []*shiptest.MemoryDestination{first, second, third} {
			for _, key := range d.Keys() {
				if strings.Contains(key, "/heads/") {
					n++
				}
			}
		}
		return n == 6
	})
	if v, err := b.s.Verify(t.Context()); err != nil || len(v) != 3 {
		t.Error(v, err)
	}
	b.close()

	// The next process has all three.
	all = destinations{"a": second, "b": first, "c": third}
	b = openBench(t, b.dir, all, "host-a")
	b.ship(all)
	b.segments(1, 10)
	b.flush()
	for _, d := range []*shiptest.MemoryDestination{first, second, third} {
		b.audit(d)
	}
}

// TestJoinRefused: a destination that the spool cannot have is refused, and nothing changes.
func TestJoinRefused(t *testing.T) {
	d := shiptest.Memory()
	all := destinations{"a": d}
	b := newBench(t, all)
	b.ship(all)
	for name, x := range map[string]ship.Destination{"a": shiptest.Memory(), "b": nil, "NO": shiptest.Memory()} {
		if err := b.s.Join(name, x); err == nil {
			t.Errorf("%s has joined", name)
		}
	}
	if err := b.s.Join("c", shiptest.Memory(), nil); err == nil {
		t.Error("a limit that is nil is taken")
	}
	if s := b.s.Stats(); len(s) != 1 {
		t.Errorf("%+v", s)
	}
	b.close()
	if err := b.s.Join("b", shiptest.Memory()); err == nil {
		t.Error("the spool is closed, and b has joined")
	}
}

// TestJoinBeforeRun: Run serves a destination that has joined before it. One that joins after Run has ended is owed
// everything, and nothing is started.
func TestJoinBeforeRun(t *testing.T) {
	d, e, f := shiptest.Memory(), shiptest.Memory(), shiptest.Memory()
	b := newBench(t, destinations{"a": d})
	b.segments(1, 10)
	s, err := ship.New(b.sp, &ship.Options{Destinations: destinations{"a": d}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Join("b", e); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	b.s = s
	b.flush()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	b.segments(1, 10)
	if err := s.Join("c", f); err != nil {
		t.Error(err)
	}
	if p := s.Stats()["c"].Pending.Records; p != 10 {
		t.Errorf("%d records are pending for c", p)
	}
	if err := s.Flush(t.Context()); !errors.Is(err, ship.ErrIncomplete) {
		t.Errorf("flushed after Run: %v", err)
	}
}

// TestSetRate: a new rate applies to an upload in progress.
func TestSetRate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := destinations{"idc": shiptest.Memory()}
		limit := ship.NewLimiter(20 << 10)
		b := newBench(t, d)
		defer b.close()
		b.noise(50, 40_000)
		b.ship(d, uncompressed, func(o *ship.Options) { o.Limits = map[string][]*ship.Limiter{"idc": {limit}} })
		begin := time.Now()
		time.Sleep(10 * time.Second)
		limit.SetRate(200 << 10)
		b.delivered("idc")
		// 0.2 MB at 20 KiB/s, up to 4 segments whose debt is forgiven, and the rest at 200.
		if took := time.Since(begin); took < 17*time.Second || took > 21*time.Second {
			t.Errorf("it took %v", took)
		}
		limit.SetRate(1 << 62)
		begin = time.Now()
		b.noise(50, 40_000)
		b.delivered("idc")
		if took := time.Since(begin); took > 3*time.Second {
			t.Errorf("without a limit: %v", took)
		}
	})
}
