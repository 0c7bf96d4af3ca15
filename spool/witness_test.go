package spool

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// The last sync before a spool falls silent is noted outside of the segment, however soon it came after the one before: if
// the file is gone after a kill, all of its records are named.
func TestSilentSpoolHasItsLastSyncNoted(t *testing.T) {
	for _, appends := range []int{1, 2, 7} {
		synctest.Test(t, func(t *testing.T) {
			h, none := NewMemHost(), func(vfs.Op) error { return nil }
			o := &Options{Class: "vpn", Destinations: []string{"a"}, Sync: SyncAlways, SegmentAge: time.Hour}
			sp, err := h.Open(none, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			for i := range appends {
				mustAppend(t, sp, batch(1+i, 1, 100))
				synctest.Wait()
			}
			time.Sleep(touchEvery)
			synctest.Wait()
			left := h.Clone()
			path := "/spool/seg/" + numberName(sp.journal.active.number) + segExt
			closeSpool(t, sp)
			if err := left.Files().Remove(path); err != nil {
				t.Fatal(err)
			}
			sp, err = left.Open(none, nil, o)
			if err != nil {
				t.Fatal(err)
			}
			defer closeSpool(t, sp)
			want := segment.Range{First: 1, Last: uint64(appends)}
			if d := sp.damages.list(); len(d) != 1 || len(d[0].Ranges) != 1 || d[0].Ranges[0] != want {
				t.Errorf("after %d appends, damage %+v, want %v", appends, d, want)
			}
		})
	}
}
