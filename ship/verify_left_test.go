package ship_test

import (
	"os"
	"testing"

	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestVerifyLeftChain: a copy of the volume has continued the chain, with a record of its own in the same segment, and the
// original has nothing that the chain does not contain. It verifies what the chain has, and finds nothing wrong.
func TestVerifyLeftChain(t *testing.T) {
	s3 := shiptest.Memory()
	d := destinations{"s3": s3}
	b := newBench(t, d)
	b.ship(d, quick) // the birth of the chain
	b.flush()
	b.append(5)
	if err := b.sp.WaitDurable(t.Context(), 5); err != nil {
		t.Fatal(err)
	}
	if err := b.stop(); err != nil {
		t.Fatal(err)
	}
	b.close()
	copied := t.TempDir()
	if err := os.CopyFS(copied, os.DirFS(b.dir)); err != nil {
		t.Fatal(err)
	}
	other := openBench(t, copied, d, "host-b")
	other.append(1)
	other.segments(1, 1)
	other.end(d)

	b = openBench(t, b.dir, d, "host-a")
	defer b.sp.Hold()()
	if err := b.sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.ship(d, quick)
	b.flush()
	if found, err := b.s.Verify(t.Context()); err != nil || len(found["s3"].Mismatches) > 0 {
		t.Errorf("%+v, %v", found, err)
	}
	want(t, delivered(t, s3, false), numbered(0, 7))
}
