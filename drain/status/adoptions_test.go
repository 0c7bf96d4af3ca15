package status

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// adopting are the adoptions of a test.
type adopting struct {
	mu  sync.Mutex
	all []drain.Adoption
}

func (a *adopting) Pending() []drain.Adoption {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.all
}

func (a *adopting) set(all ...drain.Adoption) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.all = all
}

func (a *adopting) Wait(context.Context) error { return nil }

func (a *adopting) Stop(context.Context) error { return nil }

// TestAdoptionWaits: an adopted volume that is not delivered within an hour needs attention, even if no Snapshot was taken
// before.
func TestAdoptionWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		late := drain.Adoption{Dir: "/orphans/vol-1", Class: "vpn", Why: "idc: connection refused"}
		a := &adopting{all: []drain.Adoption{late}}
		d, err := drain.New(&drain.Options{Dir: t.TempDir(), Adoptions: a})
		check(t, err)
		w, err := New(&Options{Drainer: d})
		check(t, err)
		s := &service{t: t, watch: w}
		s.run()
		time.Sleep(adoptionSpan - time.Minute)
		if snap := w.Snapshot(); snap.State != OK {
			t.Errorf("before the hour is over: %+v", snap.Trouble)
		}
		time.Sleep(2 * time.Minute)
		a.set(late, drain.Adoption{Dir: "/orphans/vol-2", Why: "being delivered"})
		snap := w.Snapshot()
		if snap.State != Warning || len(snap.Trouble) != 1 || snap.Trouble[0].What != "the adopted volume /orphans/vol-1 is not delivered yet: idc: connection refused" || !strings.Contains(snap.Trouble[0].Cure, "Keep the volume") {
			t.Errorf("after an hour: %+v", snap.Trouble)
		}
		a.set()
		if snap := w.Snapshot(); snap.State != OK || len(w.adopted.since) != 0 {
			t.Errorf("delivered: %+v", snap.Trouble)
		}
		_, err = d.Stop(t.Context(), "the end of the test")
		check(t, err)
	})
}
