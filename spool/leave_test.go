package spool

import (
	"errors"
	"fmt"
	"sync"
	"testing"
)

// TestRename: the chains of two destinations are left at the same moment, and go on under an identity each. Should the states
// of both be lost, they are looked for there, from the first manifest on.
func TestRename(t *testing.T) {
	d := memDir()
	o := Options{Destinations: []string{"a", "b", "c"}, Sync: SyncAlways}
	s := d.open(t, o)
	if _, err := s.Append(t.Context(), batch(1, 3, 10)); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{"a": "0000000000yyyyyyyyyyyyyyyy", "b": "0000000000zzzzzzzzzzzzzzzz", "c": s.Stats().Spool}
	var wg sync.WaitGroup
	for _, dest := range []string{"a", "b"} {
		wg.Go(func() {
			if err := errors.Join(s.shelf.Leave(dest, Left{}), s.shelf.Rename(dest, names[dest])); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if id := s.Stats().Spool; id != names["c"] {
		t.Errorf("the spool is %s now, it was %s", id, names["c"])
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	for dest := range names {
		if err := d.fs.Remove(s.chainPath(dest)); err != nil {
			t.Fatal(err)
		}
	}
	s = d.open(t, o)
	for dest, name := range names {
		if c, err := s.shelf.Chain(dest); err != nil || c.Spool != name || c.Epoch != 1 || c.Next != 0 || c.Through != 0 {
			t.Errorf("the chain of %s is %+v, %v", dest, c, err)
		}
	}
}

// TestRelearnRenamed: a chain was left within a segment, or with its last record, and goes on under another id with the rest of that
// segment or with more. Its state is lost then. What the destination has is counted once.
func TestRelearnRenamed(t *testing.T) {
	for _, through := range []uint64{10, 15, 20} {
		for further := range 3 {
			t.Run(fmt.Sprintf("left at %d, %d more", through, further), func(t *testing.T) {
				d := memDir()
				o := Options{Destinations: []string{"a", "b"}, Sync: SyncAlways}
				s := d.open(t, o)
				for k := range 3 {
					mustAppend(t, s, batch(10*k+1, 10, 10))
					mustSeal(t, s)
				}
				segs := s.shelf.Sealed(0, 0)
				deliver(t, s, "a", segs[0].Number)
				if err := errors.Join(s.shelf.Leave("a", Left{Segment: segs[0].Number, Through: through}), s.shelf.Rename("a", "0000000000yyyyyyyyyyyyyyyy")); err != nil {
					t.Fatal(err)
				}
				for _, seg := range segs[1 : 1+further] {
					deliver(t, s, "a", seg.Number)
				}
				mustAppend(t, s, batch(31, 1, 10)) // a ledger with this
				closeSpool(t, s)
				if err := d.fs.Remove(s.chainPath("a")); err != nil {
					t.Fatal(err)
				}
				s = d.open(t, o)
				defer closeSpool(t, s)
				for n := uint64(10); ; n += 10 {
					if l := s.Ledger(); l.Destinations["a"].Records != n || l.Balance() != nil {
						t.Errorf("%d records counted, want %d; %v", l.Destinations["a"].Records, n, l.Balance())
					}
					if n == 30 {
						return
					}
					deliver(t, s, "a", segs[n/10].Number)
				}
			})
		}
	}
}
