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
	deliver(t, s, "a", s.shelf.Sealed(0, 0)[0].Number)
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

// TestIdentityFromOneChain: spool.json and one of two chain states are damaged, and no segment is left. The other state is
// enough to go on as the same spool.
func TestIdentityFromOneChain(t *testing.T) {
	dir := t.TempDir()
	o := &Options{Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, MaxBytes: 64 << 20, Instance: "i"}
	s, err := Open(dir, o)
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	number := s.shelf.Sealed(0, 0)[0].Number
	deliver(t, s, "a", number)
	deliver(t, s, "b", number)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	id := s.Stats().Spool
	closeSpool(t, s)
	for _, path := range []string{s.path(identityName), s.chainPath("a")} {
		if err := os.WriteFile(path, []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if s, err = Open(dir, o); err != nil {
		t.Fatal(err)
	}
	defer closeSpool(t, s)
	if st := s.Stats(); st.Spool != id || st.Appended != 10 {
		t.Errorf("%+v", st)
	}
}
