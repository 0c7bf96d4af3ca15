package spool

import (
	"testing"
)

func TestAppendSealStage(t *testing.T) {
	for _, policy := range []SyncPolicy{SyncInterval, SyncAlways, SyncNone} {
		d := memDir()
		o := Options{Sync: policy, Destinations: []string{"a", "b"}}
		s := d.open(t, o)
		n := 0
		for i := range 50 {
			k := 1 + i%7
			if last := mustAppend(t, s, batch(n+1, k, 300*k)); last != uint64(n+k) {
				t.Fatalf("last %d, want %d", last, n+k)
			}
			n += k
		}
		if st := s.Stats(); st.Written != uint64(n) {
			t.Fatalf("written %d, want %d", st.Written, n)
		}
		balanced(t, s)
		if err := s.WaitDurable(t.Context(), uint64(n)); err != nil {
			t.Fatal(err)
		}
		mustSeal(t, s)
		got := stageAll(t, s)
		if len(got) != n {
			t.Fatalf("%d records, want %d", len(got), n)
		}
		balanced(t, s)
		segs := s.shelf.Sealed(0, 0)
		deliver(t, s, "a", segs[len(segs)-1].Number)
		balanced(t, s)
		deliver(t, s, "b", segs[0].Number)
		until(t, s, "first segment deleted", func() bool { return s.Stats().Segments == len(segs)-1 })
		balanced(t, s)
		closeSpool(t, s)

		s = d.open(t, o)
		balanced(t, s)
		if last := mustAppend(t, s, batch(n+1, 1, 10)); last != uint64(n+1) {
			t.Fatalf("last %d, want %d", last, n+1)
		}
		mustSeal(t, s)
		segs = s.shelf.Sealed(0, 0)
		deliver(t, s, "b", segs[len(segs)-1].Number)
		deliver(t, s, "a", segs[len(segs)-1].Number)
		until(t, s, "all segments deleted", func() bool { return s.Stats().Segments == 0 })
		balanced(t, s)
		closeSpool(t, s)
		s = d.open(t, o)
		balanced(t, s)
		if last := mustAppend(t, s, batch(n+2, 1, 10)); last != uint64(n+2) {
			t.Fatalf("last %d, want %d", last, n+2)
		}
		closeSpool(t, s)
	}
}
