package spool

import (
	"os"
	"path/filepath"
	"testing"
)

// TestAdoptWithoutSegments adopts a spool of which everything was delivered and deleted, and whose identity is damaged: the
// chain states name its class and id.
func TestAdoptWithoutSegments(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	s, err := Open(dir, &Options{Class: "vpn", Destinations: []string{"a", "b"}, SegmentBytes: minSegmentBytes, Instance: "gone", MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batch(1, 10, 200))
	mustSeal(t, s)
	n := s.shelf.Sealed(0, 1)[0].Number
	if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil {
		t.Fatal(err)
	}
	deliver(t, s, "a", n)
	deliver(t, s, "b", n)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	id := s.Stats().Spool
	closeSpool(t, s)
	if err := os.WriteFile(filepath.Join(dir, identityName), []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}

	a, err := Adopt(dir, &AdoptOptions{Work: t.TempDir(), Instance: "adopter", Destinations: []string{"a", "b"}, MaxBytes: 64 << 20})
	if err != nil {
		t.Fatal(err)
	}
	st := a.Stats()
	c, _ := a.shelf.Chain("b")
	if st.Spool != id || st.Class != "vpn" || c.Through != 10 {
		t.Errorf("adopted %s of class %q through %d; want %s of vpn through 10", st.Spool, st.Class, c.Through, id)
	}
	closeSpool(t, a)
}
