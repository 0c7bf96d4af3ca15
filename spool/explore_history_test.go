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
//	segment 1, delivered   segment 2   <- old: 2 is not delivered yet
//	           2 is delivered   segment 3   <- latest: 3 is not delivered yet
//
// If it is active, each volume was copied while segment 3 was being written, the later ones with more of its records.
type history struct {
	active bool
	spool  string
	// The volumes, and what was kept when they were copied.
	old, middle, latest volume
	places              map[string]map[string][]byte
}

type volume struct {
	disk *spool.MemHost
	kept []string
}

// roles says which volume each host has. The system shows that the copy is at another place; it does not show that the twin is a
// copy, as for any snapshot of a whole volume.
var roles = []struct {
	name  string
	of    func(*history) *volume
	moved bool
	adopt bool
}{
	{name: "owner", of: latest},
	{name: "copy", of: middle, moved: true},
	{name: "twin", of: latest},
	{name: "snapshot", of: old},
	{name: "adopter1", of: latest, adopt: true},
	{name: "adopter2", of: latest, adopt: true},
}

func old(x *history) *volume    { return &x.old }
func middle(x *history) *volume { return &x.middle }
func latest(x *history) *volume { return &x.latest }

func (x *history) String() string {
	if x.active {
		return "active"
	}
	return "sealed"
}

// makeHistory runs the common past.
func makeHistory(t *testing.T, active bool) *history {
	x := &history{active: active, places: map[string]map[string][]byte{}}
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
		x.spool = sp.Stats().Spool
		var kept []string
		volumeNow := func() volume { return volume{disk.Clone(), slices.Clone(kept)} }
		endSegment(t, sp, &kept, 2)
		shipAll(t, sp, to)
		endSegment(t, sp, &kept, 2)
		if active {
			keepMore(t, sp, &kept, 1)
		}
		x.old = volumeNow()
		shipAll(t, sp, to)
		if active {
			keepMore(t, sp, &kept, 1)
			x.middle = volumeNow()
		}
		endSegment(t, sp, &kept, 2)
		x.latest = volumeNow()
		if !active {
			x.middle = x.latest
		}
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
		Destinations: map[string]ship.Destination{"idc": to["idc"], "s3": to["s3"]}, Codec: "none", Workers: 1,
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

// keepMore keeps n records.
func keepMore(t *testing.T, sp *spool.Spool, kept *[]string, n int) {
	var batch []segment.Record
	for i := range n {
		r := fmt.Sprintf("common %d", len(*kept)+1)
		batch = append(batch, segment.Record{Time: int64(i), Data: []byte(r)})
		*kept = append(*kept, r)
	}
	if _, err := sp.Append(t.Context(), batch); err != nil {
		t.Fatal(err)
	}
}

// endSegment keeps n records, and ends the segment that they are in.
func endSegment(t *testing.T, sp *spool.Spool, kept *[]string, n int) {
	keepMore(t, sp, kept, n)
	if err := sp.Seal(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// begin makes the world of one run in which the hosts with these roles take part, and adds them to it.
func (x *history) begin(r *explore.Run, names []string) *world {
	time.Sleep(time.Hour) // of fake time: the past has happened
	w := &world{spool: x.spool, to: map[string]*shiptest.MemoryDestination{}, wrote: map[string][]string{}}
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
			v := role.of(x)
			h := &host{name: name, adopt: role.adopt, w: w, disk: v.disk.Clone()}
			h.phase = time.Duration(len(w.hosts)) * 137 * time.Microsecond
			if len(v.kept) > len(w.owed) {
				w.owed = v.kept
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
