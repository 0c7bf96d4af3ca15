package spool

import (
	"os"
	"path/filepath"
	"testing"
)

// TestPlace: a spool that was copied begins an epoch, since its original may be in use elsewhere. A volume that is only
// mounted elsewhere, a container that starts again, a hand-over and a new name of the directory are no copies.
func TestPlace(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	open := func(dir, instance string) (epoch uint32) {
		t.Helper()
		s, err := Open(dir, &Options{Destinations: []string{"a"}, SegmentBytes: minSegmentBytes, MaxBytes: 64 << 20, Instance: instance})
		if err != nil {
			t.Fatal(err)
		}
		defer closeSpool(t, s)
		return s.Stats().Epoch
	}
	if e := open(dir, "host-a"); e != 1 {
		t.Fatalf("a new spool is in epoch %d", e)
	}
	if e := open(dir, "host-a"); e != 1 {
		t.Errorf("opened again, by a container or a successor: epoch %d", e)
	}
	moved := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(dir, moved); err != nil {
		t.Fatal(err)
	}
	if e := open(moved, "host-a"); e != 1 {
		t.Errorf("mounted elsewhere: epoch %d", e)
	}
	if e := open(moved, "host-b"); e != 2 {
		t.Errorf("on another host: epoch %d", e)
	}
	clone := filepath.Join(t.TempDir(), "clone")
	if err := os.CopyFS(clone, os.DirFS(moved)); err != nil {
		t.Fatal(err)
	}
	if e := open(clone, "host-b"); e != 3 {
		t.Errorf("copied: epoch %d", e)
	}
	if e := open(clone, "host-b"); e != 3 {
		t.Errorf("the copy, opened again: epoch %d", e)
	}
	if e := open(moved, "host-b"); e != 2 {
		t.Errorf("the original, opened again: epoch %d", e)
	}
	s, err := Adopt(moved, &AdoptOptions{Work: t.TempDir(), Instance: "host-c"})
	if err != nil {
		t.Fatal(err)
	}
	if e := s.Stats().Epoch; e != 3 {
		t.Errorf("adopted: epoch %d", e)
	}
	closeSpool(t, s)
}
