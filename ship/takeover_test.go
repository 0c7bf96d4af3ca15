package ship_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestTakenOver: a copy of the volume is opened by another instance. It closes the old owner's chain before it begins its
// own, and the old owner, which is alive after all, delivers what only it has under another identity.
func TestTakenOver(t *testing.T) {
	for _, reached := range []bool{true, false} {
		mem := shiptest.Memory()
		d := destinations{"s3": mem}
		b := newBench(t, d)
		if reached {
			b.segments(3, 10)
			b.ship(d)
			b.flush()
		}
		b.close()
		clone := filepath.Join(t.TempDir(), "clone")
		if err := os.CopyFS(clone, os.DirFS(b.dir)); err != nil {
			t.Fatal(err)
		}
		b2 := openBench(t, clone, d, "host-b")
		b2.segments(2, 10)
		b2.ship(d, func(o *ship.Options) { o.Instance = "host-b" })
		b2.flush()
		chain := b2.audit(mem, 1, 2)
		closed := 0
		for _, m := range chain {
			if by := m.Footer.ClosedBy; by != nil && m.Header.Epoch == 1 && by.Instance == "host-b" && by.Epoch == 2 {
				closed++
			}
		}
		if closed != 1 {
			t.Errorf("reached %v: %d manifests close the old chain", reached, closed)
		}

		b1 := openBench(t, b.dir, d, "host-a")
		b1.ship(d)
		b1.segments(2, 11)
		b1.flush() // of what only it has, under an identity of its own
		if b1.sp.Stats().SpoolID == b2.sp.Stats().SpoolID {
			t.Errorf("reached %v: both deliver as %s", reached, b1.sp.Stats().SpoolID)
		}
		before := 0
		if reached {
			before = 30
		}
		want(t, delivered(t, mem, false), numbered(0, before), numbered(before, 20), numbered(before, 22))
	}
}
