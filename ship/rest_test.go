package ship_test

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// linesOf returns the lines for records from first to last in all manifests at a destination, of any chain.
func linesOf(t *testing.T, d ship.Destination, first, last uint64) (all []ship.SegmentLine) {
	t.Helper()
	for e, err := range d.(ship.Lister).List(t.Context(), "_manifest/") {
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(e.Key, ".jsonl") {
			continue
		}
		m, err := ship.DecodeManifest(bytes.NewReader(get(t, d, e.Key)))
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range m.Segments {
			if s.First >= first && s.Last <= last {
				all = append(all, s)
			}
		}
	}
	slices.SortStableFunc(all, func(a, b ship.SegmentLine) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	return all
}

// copyDir copies a spool that is in use. If a file is replaced during the copy, it starts again.
func copyDir(t *testing.T, to, from string) {
	t.Helper()
	for {
		err := os.CopyFS(to, os.DirFS(from))
		if err == nil {
			return
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
		if err := os.RemoveAll(to); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRestNamesItsWhole: a segment was being written when its volume was copied. At one destination the copy is quicker, and
// the owner delivers the rest; at the other one, the owner delivers the whole segment. The line of the rest describes the
// whole segment.
func TestRestNamesItsWhole(t *testing.T) {
	idc, s3 := shiptest.Memory(), shiptest.Memory()
	d := destinations{"idc": idc, "s3": s3}
	b := newBench(t, d)
	b.segments(1, 10)
	b.ship(d)
	b.flush()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.append(5)
	clone := filepath.Join(t.TempDir(), "clone")
	copyDir(t, clone, b.dir)
	b.append(5)
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	c := openBench(t, clone, d, "host-a")
	c.next = 1000
	c.segments(1, 3)
	down := shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(fmt.Errorf("down")) })
	c.ship(destinations{"idc": down, "s3": s3}, quick)
	c.until("the copy has delivered", func() bool { return c.s.Stats()["s3"].Pending.Records == 0 })
	c.close()
	b.ship(d, quick)
	b.flush()
	whole := linesOf(t, idc, 11, 20)
	if len(whole) != 1 || whole[0].First != 11 || whole[0].Last != 20 || whole[0].Whole != nil {
		t.Fatalf("idc: %+v", whole)
	}
	rest := linesOf(t, s3, 11, 20)
	if len(rest) != 3 || rest[0].First != 11 || rest[0].Last != 15 || rest[0].Whole != nil || rest[1].Whole != nil { // the rest, and the copy's own
		t.Fatalf("s3: %+v", rest)
	}
	if w := rest[2].Whole; rest[2].First != 16 || rest[2].Last != 20 || w == nil || w.First != 11 || w.RawSHA256 != whole[0].RawSHA256 {
		t.Fatalf("s3: the rest %+v, whole %+v", rest[2], w)
	}
}

// TestSameEndOtherLosses: a segment was being written when its volume was copied twice. The owner has delivered it with more
// records. The two copies end it alike, but have different losses. Its end is stated once.
func TestSameEndOtherLosses(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.append(5)
	clones := []string{filepath.Join(t.TempDir(), "one"), filepath.Join(t.TempDir(), "two")}
	for _, clone := range clones {
		copyDir(t, clone, b.dir)
	}
	b.append(5)
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ship(d, quick)
	b.flush()
	kept := [][]string{numbered(0, 10)}
	for i, clone := range clones {
		c := openBench(t, clone, d, "host-"+fmt.Sprint(i))
		c.next = 1000 * (i + 1)
		kept = append(kept, numbered(c.next, 3))
		c.segments(1, 3)
		c.ship(d, quick)
		c.flush()
	}
	want(t, delivered(t, mem, false), kept...)
	ends := 0
	for _, line := range linesOf(t, mem, 1, 10) {
		if line.First > line.Last {
			ends++
		}
	}
	if ends != 1 {
		t.Errorf("%d lines state that the segment ends with record 5", ends)
	}
}
