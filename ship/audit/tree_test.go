package audit_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var bg = context.Background()

// places are what the trees are delivered to.
type places map[string]*shiptest.MemoryDestination

func newPlaces() places { return places{"idc": shiptest.Memory(), "s3": shiptest.Memory()} }

// clone returns independent copies.
func (p places) clone() places {
	c := newPlaces()
	for name, m := range p {
		for _, key := range m.Keys() {
			c[name].Set(key, m.Bytes(key))
		}
	}
	return c
}

func (p places) audit(t testing.TB, change ...func(*audit.Options)) *audit.Result {
	t.Helper()
	o := &audit.Options{Workers: 4}
	for _, name := range slices.Sorted(maps.Keys(p)) {
		o.Places = append(o.Places, audit.Place{Name: name, Destination: p[name]})
	}
	for _, f := range change {
		f(o)
	}
	r, err := audit.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func deep(o *audit.Options) { o.Deep = true }

// sender is one life of a spool with its shipper.
type sender struct {
	t      testing.TB
	sp     *spool.Spool
	s      *ship.Shipper
	cancel context.CancelFunc
	done   chan error
	n      int
}

// send opens a spool in dir that delivers to the places.
func send(t testing.TB, dir, class, instance string, to map[string]ship.Destination, change func(*ship.Options)) *sender {
	t.Helper()
	sp, err := spool.Open(dir, &spool.Options{
		Class: class, Instance: instance, Destinations: slices.Sorted(maps.Keys(to)), SegmentBytes: 64 << 10, MaxBytes: 1 << 30, Sync: spool.SyncNone,
	})
	if err != nil {
		t.Fatal(err)
	}
	o := &ship.Options{Destinations: to, Workers: 1, Backoff: func(int, float64) time.Duration { return time.Millisecond }}
	if change != nil {
		change(o)
	}
	s, err := ship.New(sp, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	x := &sender{t: t, sp: sp, s: s, cancel: cancel, done: make(chan error, 1), n: int(sp.Stats().Appended)}
	go func() { x.done <- s.Run(ctx) }()
	return x
}

// segments keeps n segments of records, with a few losses in every other one.
func (x *sender) segments(n int) {
	x.t.Helper()
	for i := range n {
		x.segment(i)
	}
}

// segment keeps a segment, and every other one with losses.
func (x *sender) segment(i int) {
	x.t.Helper()
	x.append(20)
	if i%2 == 1 {
		var a segment.Account
		a.Lost[segment.Malformed] = segment.Loss{Records: uint64(1 + i), Bytes: 10}
		a.Received = segment.Tally{Records: uint64(1 + i), Bytes: 10}
		x.sp.Intake().Account(a)
	}
	if err := x.sp.Seal(context.Background()); err != nil {
		x.t.Fatal(err)
	}
}

// append keeps n records.
func (x *sender) append(n int) {
	x.t.Helper()
	batch := make([]segment.Record, n)
	for j := range batch {
		batch[j] = segment.Record{Time: time.Now().UnixNano(), Data: fmt.Appendf(nil, "%s record %d", x.sp.Stats().Spool, x.n)}
		x.n++
	}
	if _, err := x.sp.Append(context.Background(), batch); err != nil {
		x.t.Fatal(err)
	}
}

func (x *sender) flush() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := x.s.Flush(ctx); err != nil {
		x.t.Fatal(err)
	}
}

// until waits until one destination has everything.
func (x *sender) until(name string) {
	x.t.Helper()
	deadline := time.After(time.Minute)
	for x.s.Stats()[name].PendingSegments > 0 {
		select {
		case <-x.sp.Shelf().Changed():
		case <-time.After(5 * time.Millisecond):
		case <-deadline:
			x.t.Fatalf("waited in vain: %+v", x.s.Stats())
		}
	}
}

func (x *sender) finalize(names ...string) {
	x.t.Helper()
	for _, name := range names {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := x.s.Finalize(ctx, name); err != nil {
			x.t.Fatal(err)
		}
	}
}

// end stops the sender.
func (x *sender) end() {
	x.t.Helper()
	x.cancel()
	if err := <-x.done; err != nil {
		x.t.Error(err)
	}
	if err := x.sp.Close(); err != nil {
		x.t.Error(err)
	}
}

func (p places) destinations() map[string]ship.Destination {
	d := map[string]ship.Destination{}
	for name, m := range p {
		d[name] = m
	}
	return d
}

// finished is a tree that is complete: four spools of two classes in all three formats, one of them over three epochs,
// all final. Each test gets a copy of its own.
func finished(t testing.TB) places {
	t.Helper()
	once.Do(func() { tree = deliver(t) })
	if tree == nil {
		t.Fatal("the tree could not be delivered")
	}
	return tree.clone()
}

var (
	once sync.Once
	tree places
)

func deliver(t testing.TB) places {
	t.Helper()
	p := newPlaces()
	dir := filepath.Join(t.TempDir(), "a")
	for epoch := range 3 {
		x := send(t, dir, "vpn", []string{"host-a", "host-a", "host-b"}[epoch], p.destinations(), nil)
		for i := range 6 - epoch { // one manifest for each: some tests remove one by its number
			x.segment(i)
			x.flush()
		}
		if epoch != 1 { // the second epoch ends with a take-over by another instance
			x.finalize("idc", "s3")
		}
		x.end()
	}
	for i, format := range []string{format.NDJSON, format.Lines, format.Native} {
		class := []string{"vpn", "web", "web"}[i]
		x := send(t, filepath.Join(t.TempDir(), "b"), class, "host-"+format, p.destinations(), func(o *ship.Options) {
			o.Format, o.Codec = format, []string{"gzip", "zstd", "none"}[i]
		})
		x.segments(5)
		x.finalize("s3", "idc")
		x.end()
	}
	return p
}

// running delivers one spool that is still open everywhere, and one that one place lacks the last segments of.
func running(t testing.TB, p places) {
	t.Helper()
	x := send(t, filepath.Join(t.TempDir(), "c"), "vpn", "host-c", p.destinations(), nil)
	x.segments(5)
	x.flush()
	x.end()

	d := p.destinations()
	idc := shiptest.Faulty(d["idc"], nil)
	d["idc"] = idc
	x = send(t, filepath.Join(t.TempDir(), "d"), "web", "host-d", d, nil)
	x.segments(3)
	x.flush()
	idc.SetPlan(func(shiptest.Call) shiptest.Fault {
		return shiptest.Fault{Before: func(context.Context) error { return os.ErrDeadlineExceeded }}
	})
	x.segments(3)
	x.until("s3")
	x.end()
}

// wants fails unless there are findings of exactly these codes.
func wants(t *testing.T, r *audit.Result, verdict audit.Verdict, codes ...string) {
	t.Helper()
	var have []string
	for _, f := range r.Findings {
		if !slices.Contains(have, f.Code) {
			have = append(have, f.Code)
		}
	}
	slices.Sort(have)
	slices.Sort(codes)
	if r.Verdict != verdict || !slices.Equal(have, codes) {
		var text strings.Builder
		if err := r.WriteText(&text); err != nil {
			t.Error(err)
		}
		t.Errorf("verdict %s, findings %q; want %s, %q\n%s", r.Verdict, have, verdict, codes, &text)
	}
}
