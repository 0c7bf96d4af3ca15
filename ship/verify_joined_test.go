package ship_test

import (
	"testing"

	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// A destination was given up and is taken back in the same epoch. It is not owed the records between: its chain jumps over them, and a
// verification agrees, before its next manifest and after it.
func TestVerifyAfterTakingBack(t *testing.T) {
	a, other := shiptest.Memory(), shiptest.Memory()
	both, one := destinations{"a": a, "b": other}, destinations{"b": other}
	dir := t.TempDir()
	life := func(d destinations, segments int, verify bool, change ...func(*spool.Options)) {
		t.Helper()
		b := openBench(t, dir, d, "host-a", change...)
		defer b.close()
		b.ship(d)
		if verify {
			b.flush()
			if _, err := b.s.Verify(t.Context()); err != nil {
				t.Errorf("before a manifest: %v", err)
			}
		}
		b.segments(segments, 10)
		b.flush()
		if _, err := b.s.Verify(t.Context()); err != nil {
			t.Error(err)
		}
		b.until("deleted", func() bool { return b.sp.Stats().Segments == 0 })
	}
	life(both, 2, false)
	life(one, 2, false, func(o *spool.Options) { o.Forget = []string{"a"} })
	life(both, 2, true)
	life(both, 1, true)
}
