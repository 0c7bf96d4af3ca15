package ship_test

import (
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// slowLine is how long an upload takes; four run at a time.
const slowLine = time.Second

// TestBacklog: a destination is down for an hour of fake time, while as many segments come as 10 GB have at their usual size
// of 64 MiB; they are small here, but everything that grows with their number is real. Memory does not grow, the other
// destination never lags by more than a segment, the backlog is then delivered at the full speed of the line, and nothing is
// encoded twice.
func TestBacklog(t *testing.T) {
	const segments = 160
	synctest.Test(t, func(t *testing.T) {
		s3, idc := shiptest.Memory(), shiptest.Memory()
		down := shiptest.Faulty(idc, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
		d := destinations{"s3": s3, "idc": down}
		b := newBench(t, d)
		defer b.close()
		var encoded atomic.Int64
		b.ship(d, bubble)
		ship.CountEncoded(b.s, &encoded)
		var early uint64
		for i := range segments {
			b.segments(1, 10)
			time.Sleep(time.Hour / segments)
			if n := b.s.Stats()["s3"].PendingSegments; n > 1 {
				t.Fatalf("s3 is %d segments behind", n)
			}
			if i == segments/4 {
				early = heap()
			}
		}
		if n := b.s.Stats()["idc"].PendingSegments; n != segments {
			t.Fatalf("%d segments are owed to idc, want %d", n, segments)
		}
		// s3 keeps its objects in this process too, 300 B a segment, and each segment has a little state.
		if late := heap(); late > early+segments*16<<10 {
			t.Errorf("the heap grew from %d to %d bytes with the backlog", early, late)
		}
		before := encoded.Load()
		down.SetPlan(func(c shiptest.Call) shiptest.Fault {
			if c.Op == shiptest.Put && isData(c) {
				return shiptest.Delay(slowLine)
			}
			return shiptest.Fault{}
		})
		back := time.Now()
		for b.s.Stats()["idc"].PendingSegments > 0 {
			<-ship.Changed(b.s)
		}
		took := time.Since(back)
		if best := segments / 4 * slowLine; took > best+best/10+31*time.Second { // up to a back-off until it is noticed
			t.Errorf("the backlog took %v, at the line's speed it is %v", took, best)
		}
		if n := encoded.Load(); n != before || n != segments {
			t.Errorf("%d segments were encoded %d times, %d of them after the outage", segments, n, n-before)
		}
		b.audit(s3)
		b.audit(idc)
	})
}

// heap is what is in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
