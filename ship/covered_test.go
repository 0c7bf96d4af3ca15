package ship_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestCoveredByOther: the upload of a segment fails, and another owner delivers it. The failure is over then, whether the chain goes on
// in that owner's epoch, or is in it already.
func TestCoveredByOther(t *testing.T) {
	mem := shiptest.Memory()
	f := shiptest.Faulty(mem, nil)
	d := destinations{"s3": f}
	b := newBench(t, d)
	b.ship(d, quick)
	b.segments(1, 10)
	b.flush()
	// fail makes all uploads but those under one key fail.
	fail := func(but string) {
		f.SetPlan(func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Put && isData(c) && c.Key != but {
				return shiptest.FailBefore(errors.New("down"))
			}
			return shiptest.Fault{}
		})
	}
	for n, epoch := range []string{"another epoch", "the same epoch"} {
		fail("")
		b.segments(2, 10)
		b.until("both uploads fail", func() bool { return b.sp.Stats().Staged == 2 && b.s.Stats()["s3"].State == ship.StateRetrying })
		rec, err := b.sp.Shelf().StageRecord(b.sp.Shelf().Sealed(0, 1)[0].Number)
		if err != nil {
			t.Fatal(err)
		}
		copied := filepath.Join(t.TempDir(), "copy")
		copyDir(t, copied, b.dir)
		other := openBench(t, copied, destinations{"s3": mem}, fmt.Sprint("host-", n))
		other.ship(destinations{"s3": mem}, quick)
		other.flush()
		other.close()

		before := b.s.Stats()["s3"].Chain.Epoch
		fail(rec.Key) // the first upload succeeds, so that the chain is to be continued
		b.until(epoch+": nothing fails", func() bool {
			st := b.s.Stats()["s3"]
			return st.State == ship.StateOK && st.PendingSegments == 0 && len(b.lines("destination works again")) > n
		})
		if !b.sp.Shelf().Down("s3").IsZero() {
			t.Errorf("%s: the spool remembers an outage", epoch)
		}
		if after := b.s.Stats()["s3"].Chain.Epoch; (after == before) != (n == 1) {
			t.Errorf("%s: the chain was in epoch %d, and is in %d", epoch, before, after)
		}
	}
	want(t, delivered(t, mem, false), numbered(0, b.next))
}
