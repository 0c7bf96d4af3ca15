package ship_test

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestDeliver(t *testing.T) {
	file, err := fileship.New(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	mem := shiptest.Memory()
	d := destinations{"idc": file, "s3": mem}
	b := newBench(t, d)
	b.segments(3, 50)
	b.ship(d)
	b.segments(17, 50)
	b.flush()
	if _, err := b.s.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name := range d {
		if err := b.s.Finalize(t.Context(), name); err != nil {
			t.Fatal(err)
		}
		if err := b.s.Finalize(t.Context(), name); err != nil {
			t.Fatalf("again: %v", err)
		}
	}
	a, z := b.audit(file), b.audit(mem)
	if !a[len(a)-1].Footer.Final || !z[len(z)-1].Footer.Final {
		t.Error("the last manifest is not final")
	}
	if !slices.EqualFunc(lines(a), lines(z), func(x, y ship.SegmentLine) bool {
		x.Receipt, y.Receipt = nil, nil
		return x.Key == y.Key && x.SHA256 == y.SHA256 && x.RawSHA256 == y.RawSHA256 && x.MinTime.Equal(y.MinTime) && x.Size == y.Size
	}) {
		t.Error("the destinations' segment lines differ in more than the receipt")
	}
	if err := b.stop(); err != nil { // which waits for the final heads
		t.Fatal(err)
	}
	for of, chain := range map[string][]*ship.Manifest{"idc": a, "s3": z} {
		at, last := map[string]ship.Destination{"idc": mem, "s3": file}[of], chain[len(chain)-1]
		key := object.HeadKey("vpn", last.Header.Spool, 1, of, last.Header.Number)
		h, err := ship.DecodeHead(bytes.NewReader(get(t, at, key)))
		if err != nil || !h.Final || h.Hash != hexOf(last.Hash) || h.Last != 1000 {
			t.Errorf("head of %s: %+v, %v", of, h, err)
		}
	}
	b.until("all is deleted", func() bool { return b.sp.Stats().Segments == 0 })
	for name, st := range b.s.Stats() {
		if st.State != ship.StateOK || st.Pending != (segment.Tally{}) || st.Delivered.Records != 1000 || st.ETA != 0 || st.SentBytes == 0 {
			t.Errorf("%s: %+v", name, st)
		}
	}
}

func lines(chain []*ship.Manifest) (all []ship.SegmentLine) {
	for _, m := range chain {
		all = append(all, m.Segments...)
	}
	return all
}

// TestEmptySpool: only the first and the final manifest are written.
func TestEmptySpool(t *testing.T) {
	mem := shiptest.Memory()
	b := newBench(t, destinations{"s3": mem})
	b.ship(destinations{"s3": mem})
	b.flush()
	if err := b.s.Finalize(t.Context(), "s3"); err != nil {
		t.Fatal(err)
	}
	if chain := b.audit(mem); len(chain) != 2 || !chain[1].Footer.Final || len(mem.Keys()) != 2 {
		t.Errorf("%d manifests, %q", len(chain), mem.Keys())
	}
}

// TestBirthFirst: a destination first gets the chain's first manifest, so a spool is known even if its data never arrived.
func TestBirthFirst(t *testing.T) {
	mem := shiptest.Memory()
	var first atomic.Pointer[string]
	d := destinations{"s3": shiptest.Faulty(mem, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put {
			first.CompareAndSwap(nil, &c.Key)
		}
		return shiptest.Fault{}
	})}
	b := newBench(t, d)
	b.segments(2, 10)
	b.ship(d)
	b.flush()
	if want := object.ManifestKey("vpn", b.sp.Stats().Spool, 1, 0); *first.Load() != want {
		t.Errorf("first Put: %s, want %s", *first.Load(), want)
	}
}

// TestLossLines: losses in a segment without records have no object, and are in every chain.
func TestLossLines(t *testing.T) {
	mem := shiptest.Memory()
	b := newBench(t, destinations{"s3": mem})
	lose := func(n uint64) {
		var a segment.Account
		a.Received.Records = n
		a.Lost[segment.KernelOverflow] = segment.Loss{Records: n, BytesUnknown: true}
		b.sp.Intake().Account(a)
	}
	lose(3)
	b.segments(1, 10)
	lose(4)
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.segments(1, 10)
	b.ship(destinations{"s3": mem})
	b.flush()
	var lost uint64
	var after []uint64
	for _, m := range b.audit(mem) {
		for _, l := range m.Losses {
			lost += l.Lost[segment.KernelOverflow].Records
			after = append(after, l.After)
		}
	}
	if lost != 7 || !slices.IsSorted(after) {
		t.Errorf("%d records lost according to the chain, want 7 (after %v)", lost, after)
	}
}

// TestResponseLost: every second answer is lost after the destination has done its work.
func TestResponseLost(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": shiptest.Faulty(mem, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && c.N%2 == 1 {
			return shiptest.FailAfter(errors.New("connection reset"))
		}
		return shiptest.Fault{}
	})}
	b := newBench(t, d)
	b.segments(6, 20)
	b.ship(d, quick)
	b.flush()
	b.audit(mem)
}

// quick makes retries immediate, for tests without fake time.
func quick(o *ship.Options) {
	o.Backoff = func(int, float64) time.Duration { return time.Millisecond }
	o.ProbeInterval = time.Millisecond
}

// TestWindow: while the oldest segment does not arrive, at most 2 × workers segments are uploaded, or 8 times as many small
// ones.
func TestWindow(t *testing.T) {
	mem := shiptest.Memory()
	var puts atomic.Int64
	broken := errors.New("broken")
	f := shiptest.Faulty(mem, func(c shiptest.Call) shiptest.Fault {
		if c.Op != shiptest.Put || !strings.HasPrefix(c.Key, "class=") {
			return shiptest.Fault{}
		}
		if strings.Contains(c.Key, "-0000000000000001-") {
			return shiptest.FailBefore(broken)
		}
		puts.Add(1)
		return shiptest.Fault{}
	})
	d := destinations{"s3": f}
	b := newBench(t, d)
	b.segments(40, 5)
	b.ship(d, quick, func(o *ship.Options) { o.Workers = 2 })
	b.until("the window is full", func() bool { return puts.Load() >= 31 })
	tries := f.Calls(shiptest.Put)
	b.until("the oldest was tried again and again", func() bool { return f.Calls(shiptest.Put) > tries+20 })
	if n := puts.Load(); n != 31 {
		t.Errorf("%d segments uploaded beside the one that fails, want 31", n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := b.s.Flush(ctx)
	var inc *ship.IncompleteError
	if !errors.Is(err, ship.ErrIncomplete) || !errors.Is(err, broken) || !errors.As(err, &inc) || inc.Pending[0].Segments != 40 {
		t.Errorf("Flush: %v", err)
	}
	f.SetPlan(nil)
	b.flush()
	b.audit(mem)
}

func TestNewRefuses(t *testing.T) {
	mem := shiptest.Memory()
	b := newBench(t, destinations{"a": mem, "b": shiptest.Memory()})
	for name, o := range map[string]*ship.Options{
		"nil":            nil,
		"missing":        {Destinations: destinations{"a": mem}},
		"unknown":        {Destinations: destinations{"a": mem, "c": shiptest.Memory()}},
		"one place":      {Destinations: destinations{"a": mem, "b": mem}},
		"no destination": {Destinations: destinations{"a": mem, "b": nil}},
		"codec":          {Destinations: destinations{"a": mem, "b": shiptest.Memory()}, Codec: "rar"},
		"workers":        {Destinations: destinations{"a": mem, "b": shiptest.Memory()}, Workers: -1},
	} {
		if _, err := ship.New(b.sp, o); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// TestRunEnds: a destination that never answers does not keep Run from returning.
func TestRunEnds(t *testing.T) {
	hang := shiptest.Fault{Before: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }}
	d := destinations{"s3": shiptest.Faulty(shiptest.Memory(), func(shiptest.Call) shiptest.Fault { return hang })}
	b := newBench(t, d)
	b.segments(2, 10)
	b.ship(d)
	b.until("it is asked", func() bool {
		return d["s3"].(*shiptest.FaultyDestination).Calls(shiptest.Put)+d["s3"].(*shiptest.FaultyDestination).Calls(shiptest.Open) > 0
	})
	if err := b.stop(); err != nil {
		t.Error(err)
	}
	if err := b.s.Run(t.Context()); err == nil {
		t.Error("a second Run is accepted")
	}
	if err := b.s.Flush(t.Context()); !errors.Is(err, ship.ErrIncomplete) {
		t.Errorf("Flush after Run: %v", err)
	}
}
