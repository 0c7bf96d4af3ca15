package spool

import (
	"errors"
	"os"
	"testing"
)

// TestChainStatesSwapped: the state files of two destinations are exchanged. What one of them has does not count as
// delivered to the other.
func TestChainStatesSwapped(t *testing.T) {
	dir := t.TempDir()
	open := func() *Spool {
		t.Helper()
		s, err := Open(dir, &Options{Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, MaxBytes: 64 << 20, Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	a, b, aside := s.chainPath("a"), s.chainPath("b"), s.chainPath("a")+".aside"
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	deliver(t, s, "a", s.Sealed(0, 0)[0].Number)
	closeSpool(t, s)
	if err := errors.Join(os.Rename(a, aside), os.Rename(b, a), os.Rename(aside, b)); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer closeSpool(t, s)
	for _, name := range []string{"a", "b"} {
		if p := s.Stats().Pending[name].Records; p != 10 {
			t.Errorf("%d records pending at %s, want 10 until the shipper has looked", p, name)
		}
	}
}
