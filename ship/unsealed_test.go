package ship_test

import (
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestUnsealed: Finalize looks at a chain, and the segment that the chain lacked is delivered and deleted before it asks the
// spool for it. Finalize must not report a forgotten Seal then.
func TestUnsealed(t *testing.T) {
	d := destinations{"idc": shiptest.Memory()}
	b := newBench(t, d)
	b.ship(d)
	before, err := b.sp.Shelf().Chain("idc")
	if err != nil {
		t.Fatal(err)
	}
	b.segments(1, 5)
	b.flush()
	b.until("the segment is deleted", func() bool { return b.sp.Stats().Segments == 0 })
	if ship.Unsealed(b.s, "idc", before) {
		t.Error("a chain as it was a moment ago: records are said to be in no sealed segment")
	}
	b.append(1)
	now, err := b.sp.Shelf().Chain("idc")
	if err != nil {
		t.Fatal(err)
	}
	if !ship.Unsealed(b.s, "idc", now) {
		t.Error("a record that no segment has was not noticed")
	}
	b.close()
}
