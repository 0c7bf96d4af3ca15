package ship_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/compress"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// delivered returns the payloads at a destination, of all objects that are named by a manifest, sorted, and fails if an
// audit finds damage, or an object that no manifest names.
func delivered(t *testing.T, d ship.Destination, complete bool) (payloads []string) {
	t.Helper()
	r, err := audit.Run(t.Context(), &audit.Options{Places: []audit.Place{{Destination: d}}, Deep: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range r.Findings {
		if complete || f.Code != audit.Open && f.Code != audit.Uncovered {
			t.Errorf("%+v", f)
		}
	}
	for e, err := range d.(ship.Lister).List(t.Context(), "class=") {
		if err != nil {
			t.Fatal(err)
		}
		payloads = append(payloads, objectPayloads(t, d, e.Key)...)
	}
	slices.Sort(payloads)
	return payloads
}

// objectPayloads returns the payloads in an object.
func objectPayloads(t *testing.T, d ship.Destination, key string) (data []string) {
	t.Helper()
	c, err := compress.ByName("zstd")
	if err != nil {
		t.Fatal(err)
	}
	r, err := c.NewReader(bytes.NewReader(get(t, d, key)))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	raw, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(raw)) {
		var v struct{ Data string }
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		data = append(data, v.Data)
	}
	return data
}

func want(t *testing.T, got []string, want ...[]string) {
	t.Helper()
	all := slices.Concat(want...)
	slices.Sort(all)
	if !slices.Equal(got, all) {
		t.Errorf("%d records are there, %d were kept\nthere: %q\nkept:  %q", len(got), len(all), got, all)
	}
}

func numbered(from, n int) (p []string) {
	for i := range n {
		p = append(p, payload(from+i))
	}
	return p
}

// TestCopies: a volume is copied, with segments that are delivered, segments that are not, and an active one that both copies
// continue. Whichever starts first, and whether they run one after the other or at the same time, every record of both is
// delivered once, and both can be closed.
func TestCopies(t *testing.T) {
	for _, instance := range []string{"host-a", "host-b"} {
		for _, activeRecords := range []int{0, 5} {
			for _, copyFirst := range []bool{true, false} {
				t.Run(fmt.Sprint(instance, activeRecords, copyFirst), func(t *testing.T) {
					mem := shiptest.Memory()
					d := destinations{"s3": mem}
					b := newBench(t, d)
					b.segments(2, 10)
					b.ship(d)
					b.flush()
					if err := b.stop(); err != nil {
						t.Fatal(err)
					}
					b.segments(2, 10)
					if activeRecords > 0 {
						b.append(activeRecords)
					}
					shared := b.next
					clone := filepath.Join(t.TempDir(), "clone")
					if err := os.CopyFS(clone, os.DirFS(b.dir)); err != nil {
						t.Fatal(err)
					}
					b.close()
					one, two := openBench(t, b.dir, d, "host-a"), openBench(t, clone, d, instance)
					one.next, two.next = 1000, 2000
					if copyFirst {
						one, two = two, one
					}
					for _, x := range []*bench{one, two} {
						x.append(5)
						x.segments(2, 10)
						x.ship(d, quick)
						x.flush()
					}
					for _, x := range []*bench{two, one} {
						x.segments(1, 3)
						x.flush()
						if err := x.s.Finalize(t.Context(), "s3"); err != nil {
							t.Error(err)
						}
						x.close()
					}
					want(t, delivered(t, mem, true), numbered(0, shared), numbered(1000, 28), numbered(2000, 28))
				})
			}
		}
	}
}

// TestSnapshot: a volume is restored from a snapshot, so the chain at the destination is ahead of it. Records received since
// are delivered, and records from before are not delivered again.
func TestSnapshot(t *testing.T) {
	for _, active := range []int{0, 5} {
		t.Run(fmt.Sprint("active ", active), func(t *testing.T) {
			mem := shiptest.Memory()
			d := destinations{"s3": mem}
			b := newBench(t, d)
			b.segments(2, 10)
			b.ship(d)
			b.flush()
			if err := b.stop(); err != nil {
				t.Fatal(err)
			}
			b.segments(1, 10)
			if active > 0 {
				b.append(active)
			}
			snapshot := filepath.Join(t.TempDir(), "snapshot")
			if err := os.CopyFS(snapshot, os.DirFS(b.dir)); err != nil {
				t.Fatal(err)
			}
			b.append(5)
			b.segments(3, 10)
			b.ship(d)
			b.flush()
			before := b.next
			b.close()

			r := openBench(t, snapshot, d, "host-a")
			r.next = 1000
			r.ship(d, quick)
			r.segments(3, 10)
			r.flush()
			if err := r.s.Finalize(t.Context(), "s3"); err != nil {
				t.Error(err)
			}
			want(t, delivered(t, mem, false), numbered(0, before), numbered(1000, 30))
		})
	}
}

// TestGoldenImage: three instances start from copies of one volume, which holds records that were delivered and records that were
// not. Everything is delivered once, and the audit is complete.
func TestGoldenImage(t *testing.T) {
	mem, idc := shiptest.Memory(), shiptest.Memory()
	d := destinations{"s3": mem, "idc": idc}
	b := openBench(t, t.TempDir(), d, "builder")
	b.segments(3, 10)
	b.ship(d)
	b.flush()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.segments(2, 10)
	b.append(4)
	b.close()
	var all []*bench
	kept := [][]string{numbered(0, b.next)}
	for i := range 3 {
		dir := filepath.Join(t.TempDir(), "copy")
		if err := os.CopyFS(dir, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		x := openBench(t, dir, d, fmt.Sprint("host-", i))
		x.next = 1000 * (i + 1)
		kept = append(kept, numbered(x.next, 30))
		x.segments(3, 10)
		x.ship(d, quick)
		all = append(all, x)
	}
	for _, x := range all {
		x.flush()
	}
	for _, x := range all {
		for dest := range d {
			if err := x.s.Finalize(t.Context(), dest); err != nil {
				t.Error(err)
			}
		}
		x.close()
	}
	want(t, delivered(t, mem, true), kept...)
	want(t, delivered(t, idc, true), kept...)
}

// TestOwnerFallsSilent: the owner of a copy has claimed the chain, and dies before it has delivered the records that both
// hold.
func TestOwnerFallsSilent(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.segments(1, 10)
	b.ship(d)
	b.flush()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.segments(3, 10)
	clone := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(clone, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	c := openBench(t, clone, d, "host-b")
	c.ship(destinations{"s3": shiptest.Faulty(mem, func(c shiptest.Call) shiptest.Fault {
		if c.Op == shiptest.Put && isData(c) {
			return shiptest.FailBefore(fmt.Errorf("down"))
		}
		return shiptest.Fault{}
	})}, quick)
	c.until("it has claimed", func() bool { return mem.Bytes(object.ManifestKey("vpn", b.sp.Stats().Spool, 2, 0)) != nil })
	c.close()
	b.ship(d, quick, func(o *ship.Options) { o.OwnerTimeout = 300 * time.Millisecond })
	b.flush()
	if err := b.s.Finalize(t.Context(), "s3"); err != nil {
		t.Error(err)
	}
	want(t, delivered(t, mem, true), numbered(0, 40))
}

// TestCopiesWithoutTimes: the owner and its copy have each received one record, of the same length, to which their programs
// have given the same time. Only their payloads differ.
func TestCopiesWithoutTimes(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.segments(1, 10)
	clone := filepath.Join(t.TempDir(), "clone")
	copyDir(t, clone, b.dir)
	for _, x := range []*bench{b, openBench(t, clone, d, "host-a")} {
		if _, err := x.sp.Append(t.Context(), []segment.Record{{Data: []byte(filepath.Base(x.dir)[:1])}}); err != nil {
			t.Fatal(err)
		}
		if err := x.sp.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		x.ship(d, quick)
		x.flush()
	}
	want(t, delivered(t, mem, false), numbered(0, 10), []string{"0"}, []string{"c"})
}
