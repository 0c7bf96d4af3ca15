package asg_test

import (
	"bytes"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestSpot: a spot instance is reclaimed, and two minutes are not enough for one of the destinations. The report is
// written before the instance is gone, that destination has the oldest records and none that are much newer, and the rest
// is delivered from the volume.
func TestSpot(t *testing.T) {
	const records = 6000
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		fast, slow := shiptest.Memory(), shiptest.Memory()
		var mu sync.Mutex
		pace := 20 * time.Second
		faulty := shiptest.Faulty(slow, func(c shiptest.Call) shiptest.Fault {
			mu.Lock()
			defer mu.Unlock()
			if c.Op != shiptest.Put || pace == 0 {
				return shiptest.Fault{}
			}
			return shiptest.Delay(pace)
		})
		g := draintest.NewGroup(nil)
		start := func(i *draintest.Instance) *drain.Drainer {
			sp, err := spool.Open(filepath.Join(dir, "vpn"), &spool.Options{
				Class: "vpn", Destinations: []string{"fast", "slow"}, SegmentBytes: 64 << 10, MaxBytes: 256 << 20,
			})
			if err != nil {
				t.Fatal(err)
			}
			for sp.Stats().Appended < records {
				rec := []segment.Record{{Time: time.Now().UnixNano(), Data: bytes.Repeat([]byte{'x'}, 1000)}}
				if _, err := sp.Append(t.Context(), rec); err != nil {
					t.Fatal(err)
				}
			}
			sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"fast": fast, "slow": faulty}})
			if err != nil {
				t.Fatal(err)
			}
			d, err := drain.New(&drain.Options{Dir: dir, Timeout: time.Hour, Lifecycles: []drain.Lifecycle{lifecycle(t, g, i)}, Quiesce: -1})
			if err != nil {
				t.Fatal(err)
			}
			if err := d.Add(drain.Class{Shipper: sh}); err != nil {
				t.Fatal(err)
			}
			return d
		}
		i := g.Launch()
		d := start(i)
		gone := time.Now().Add(2 * time.Minute)
		i.Reclaim()
		r, err := d.RunWith(t.Context(), nil)
		if err != nil || r.Outcome != drain.Incomplete || r.Ended.After(gone) || r.Trigger != "spot interruption: terminate" {
			t.Fatalf("%v %s", err, r.JSON())
		}
		if answer, _ := i.Answered(); answer != "" {
			t.Errorf("answered %s", answer)
		}
		dests := r.Classes["vpn"].Destinations
		part := dests["slow"].Delivered.Records
		if !dests["fast"].Verified || part == 0 || part == records {
			t.Errorf("%s", r.JSON())
		}
		for n, l := range r.Left { // the oldest segment first, and none of them before what is delivered
			if l.Destination != "slow" || n == 0 && l.First != part+1 || n > 0 && l.First != r.Left[n-1].Last+1 {
				t.Errorf("%d delivered, leftover %d: %+v", part, n, l)
			}
		}
		if last := r.Left[len(r.Left)-1].Last; last != records {
			t.Errorf("the leftovers end at %d", last)
		}

		mu.Lock()
		pace = 0
		mu.Unlock()
		next := g.Launch()
		d = start(next)
		next.Terminate()
		if r, err := d.RunWith(t.Context(), nil); err != nil || r.Outcome != drain.Delivered || r.Classes["vpn"].Kept.Records != records {
			t.Errorf("%v %s", err, r.JSON())
		}
	})
}
