package spool

import (
	"os"
	"path/filepath"
	"testing"
)

// TestChainStateAged: a chain's state file is replaced by an earlier copy of itself. What was delivered and deleted since
// is not reported as lost, and nothing that is here counts as delivered before the shipper has looked.
func TestChainStateAged(t *testing.T) {
	dir := t.TempDir()
	open := func() *Spool {
		t.Helper()
		s, err := Open(dir, &Options{Destinations: []string{"a"}, SegmentBytes: minSegmentBytes, MaxBytes: 64 << 20, Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	path := s.chainPath("a")
	old, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		mustAppend(t, s, batch(10*i+1, 10, 100))
		mustSeal(t, s)
		deliver(t, s, "a", s.shelf.Sealed(0, 0)[0].Number)
		until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	}
	mustAppend(t, s, batch(31, 10, 100))
	mustSeal(t, s)
	closeSpool(t, s)
	if err := os.WriteFile(path, old, 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer closeSpool(t, s)
	if c, err := s.shelf.Chain("a"); err != nil || c.Through != 30 || c.Next != 0 {
		t.Errorf("%+v, %v", c, err)
	}
	if l := s.Ledger(); l.Damaged.Records != 0 {
		t.Errorf("damaged: %+v", l.Damaged)
	}
	if st := s.Stats(); st.Pending["a"].Records != 10 {
		t.Errorf("pending: %+v", st.Pending)
	}
}

// TestIdentityDamagedOwingNothing: everything was delivered and deleted when spool.json is damaged. The class starts, under
// the same spool id, and gives no number again.
func TestIdentityDamagedOwingNothing(t *testing.T) {
	dir := t.TempDir()
	open := func() *Spool {
		t.Helper()
		s, err := Open(dir, &Options{Destinations: []string{"a"}, SegmentBytes: minSegmentBytes, MaxBytes: 64 << 20, Instance: "i"})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	mustAppend(t, s, batch(1, 10, 100))
	mustSeal(t, s)
	deliver(t, s, "a", s.shelf.Sealed(0, 0)[0].Number)
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	id := s.Stats().Spool
	closeSpool(t, s)
	if err := os.WriteFile(filepath.Join(dir, identityName), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s = open()
	defer closeSpool(t, s)
	if st := s.Stats(); st.Spool != id || st.Epoch != 2 || st.Appended != 10 {
		t.Errorf("%+v", st)
	}
}
