package spool

import (
	"errors"
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
	names := map[string]string{"a": "0000000000yyyyyyyyyyyyyyyy", "b": "0000000000zzzzzzzzzzzzzzzz", "c": s.Stats().SpoolID}
	var wg sync.WaitGroup
	for _, dest := range []string{"a", "b"} {
		wg.Go(func() {
			if err := errors.Join(s.shelf.Leave(dest, Left{}), s.shelf.Rename(dest, names[dest])); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if id := s.Stats().SpoolID; id != names["c"] {
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
