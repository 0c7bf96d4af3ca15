package spool_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/explore"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// history is what all hosts have in common: one spool that has delivered something.
//
//	segment 1, delivered   segment 2   <- snapshot: 2 is not delivered yet
//	           2 is delivered   segment 3   <- latest: 3 is not delivered yet
type history struct {
	spool            string
	snapshot, latest *spool.MemHost
	before, all      []string // the records of the two
	places           map[string]map[string][]byte
}

// roles says which volume each host has. The copy is at a place of its own, which the system tells; of the twin, as of any
// snapshot of a whole volume, nothing tells.
var roles = []struct {
	name  string
	old   bool // that of the snapshot
	moved bool
	adopt bool
}{
	{name: "owner"},
	{name: "copy", moved: true},
	{name: "twin"},
	{name: "snapshot", old: true},
	{name: "adopter1", adopt: true},
	{name: "adopter2", adopt: true},
}

// makeHistory runs the common past.
func makeHistory(t *testing.T) *history {
	x := &history{places: map[string]map[string][]byte{}}
	synctest.Test(t, func(t *testing.T) {
		disk := spool.NewMemHost()
		disk.Place = &vfs.Volume{UUID: "one"}
		to := places{"idc": shiptest.Memory(), "s3": shiptest.Memory()}
		sp, err := disk.Open(func(vfs.Op) error { return nil }, nil, &spool.Options{
			Class: "vpn", Destinations: []string{"idc", "s3"}, Sync: spool.SyncAlways, SegmentAge: 24 * time.Hour,
		})
		if err != nil {
			t.Fatal(err)
		}
		defer sp.Close()
		x.spool = sp.Stats().SpoolID
		x.segment(t, sp)
		shipAll(t, sp, to)
		x.segment(t, sp)
		x.snapshot, x.before = disk.Clone(), slices.Clone(x.all)
		shipAll(t, sp, to)
		x.segment(t, sp)
		x.latest = disk.Clone()
		for name, d := range to {
			x.places[name] = map[string][]byte{}
			for _, key := range d.Keys() {
				x.places[name][key] = d.Bytes(key)
			}
		}
	})
	return x
}

// shipAll delivers what is sealed.
func shipAll(t *testing.T, sp *spool.Spool, to places) {
	sh, err := ship.New(sp, &ship.Options{
		Destinations: map[string]ship.Destination{"idc": to["idc"], "s3": to["s3"]}, Instance: "here", Codec: "none", Workers: 1,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = sh.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	if err := sh.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// segment keeps two records in a segment of their own.
func (x *history) segment(t *testing.T, sp *spool.Spool) {
	var batch []segment.Record
	for i := range 2 {
		r := fmt.Sprintf("common %d", len(x.all)+1)
		batch = append(batch, segment.Record{Time: int64(i), Data: []byte(r)})
		x.all = append(x.all, r)
	}
	if _, err := sp.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
	if err := sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// begin makes the world of one run in which the hosts with these roles take part, and adds them to it.
func (x *history) begin(r *explore.Run, names []string) *world {
	time.Sleep(time.Hour) // of fake time: the past has happened
	w := &world{spool: x.spool, to: map[string]*shiptest.MemoryDestination{}, wrote: map[string][]string{}, owed: x.before}
	for name, objects := range x.places {
		w.to[name] = shiptest.Memory()
		for key, b := range objects {
			w.to[name].Set(key, b)
		}
	}
	for _, name := range names {
		for _, role := range roles {
			if role.name != name {
				continue
			}
			h := &host{name: name, adopt: role.adopt, w: w, disk: x.snapshot.Clone()}
			h.phase = time.Duration(len(w.hosts)) * 137 * time.Microsecond
			if !role.old {
				h.disk, w.owed = x.latest.Clone(), x.all
			}
			if role.moved {
				h.disk.Place = &vfs.Volume{UUID: "another"}
			}
			w.hosts = append(w.hosts, h)
			r.Go(name, h.main)
		}
	}
	return w
}
