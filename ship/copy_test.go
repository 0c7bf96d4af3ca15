package ship_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestCopyEndsWithoutRecords: the copy of a volume in use states what it may have lost, in a segment without records. The
// original has records under that segment's number.
func TestCopyEndsWithoutRecords(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.ship(d)
	b.flush()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(clone, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	c := openBench(t, clone, d, "host-b")
	c.next = 1000
	c.ship(d, quick)
	if err := c.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	c.flush()
	if err := c.stop(); err != nil {
		t.Fatal(err)
	}

	b.segments(1, 3)
	b.ship(d, quick)
	b.flush()
	c.ship(d, quick)
	c.segments(1, 1)
	c.flush()
	for _, x := range []*bench{b, c} {
		if err := x.s.Finalize(t.Context(), "s3"); err != nil {
			t.Error(err)
		}
		x.close()
	}
	want(t, delivered(t, mem, true), numbered(0, 3), numbered(1000, 1))
}

// TestSnapshotLosesChainState: a restored spool has delivered under its second identity, and more segments than before the
// snapshot. Its chain state is lost, and is reconstructed from the chain of its first identity on.
func TestSnapshotLosesChainState(t *testing.T) {
	mem := shiptest.Memory()
	d := destinations{"s3": mem}
	b := newBench(t, d)
	b.ship(d)
	b.flush()
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	snapshot := filepath.Join(t.TempDir(), "snapshot")
	if err := os.CopyFS(snapshot, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	b.segments(1, 20)
	b.ship(d)
	b.flush()
	b.close()

	// The directory stays, and with it the epoch.
	for _, e := range dirEntries(t, b.dir) {
		if err := os.RemoveAll(filepath.Join(b.dir, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.CopyFS(b.dir, os.DirFS(snapshot)); err != nil {
		t.Fatal(err)
	}
	r := openBench(t, b.dir, d, "host-a")
	r.next = 1000
	r.segments(5, 2)
	r.ship(d, quick)
	r.flush()
	r.close()
	if err := os.Remove(filepath.Join(b.dir, "chain", "s3.json")); err != nil {
		t.Fatal(err)
	}
	r = openBench(t, b.dir, d, "host-a")
	r.next = 1010
	r.segments(1, 3)
	r.ship(d, quick)
	r.flush()
	if err := r.s.Finalize(t.Context(), "s3"); err != nil {
		t.Error(err)
	}
	r.close()
	want(t, delivered(t, mem, false), numbered(0, 20), numbered(1000, 13))
}

func dirEntries(t *testing.T, dir string) []os.DirEntry {
	t.Helper()
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return all
}
