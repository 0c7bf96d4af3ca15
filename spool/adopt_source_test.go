package spool

import (
	"io/fs"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// TestAdoptSameSource: if no owner has used the source, an adopter continues with its files. Otherwise it starts over, also if
// the mark of their state is missing.
func TestAdoptSameSource(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	closeSpool(t, s)
	staged := func(stage bool) int {
		t.Helper()
		s, err := adopt("/spool", d.fs, new(index.Mem).Open, &AdoptOptions{Work: "/work", Instance: "adopter", MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		defer closeSpool(t, s)
		n := s.Stats().Staged
		if stage {
			stageAll(t, s)
		}
		return n
	}
	staged(true)
	if n := staged(false); n != 3 {
		t.Errorf("%d segments are staged after a restart", n)
	}
	s = d.open(t, Options{Destinations: []string{"a"}})
	closeSpool(t, s)
	if n := staged(true); n != 0 {
		t.Errorf("%d segments are staged after the owner has used the spool", n)
	}
	if err := d.fs.Remove(workDir("/work", "default", s.Stats().Spool) + "/" + sourceName); err != nil {
		t.Fatal(err)
	}
	if n := staged(true); n != 0 {
		t.Errorf("%d segments are staged although nothing says of which state", n)
	}
	if err := vfs.WriteFileAtomic(d.fs, "/spool/damaged/0000000000000001.given-up", []byte("an operator's word")); err != nil {
		t.Fatal(err)
	}
	if n := staged(false); n != 3 {
		t.Errorf("%d segments are staged after an operator has given damage up", n)
	}
}

// TestAdoptForeignFile: other programs' files in the directory, which an adopter may not be permitted to read, or which change, affect
// neither the adoption nor the adopter's files.
func TestAdoptForeignFile(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	closeSpool(t, s)
	fsys := vfs.Inject(d.fs, func(op vfs.Op) error {
		if op.Kind == vfs.OpOpen && op.Path == "/spool/aquota.user" {
			return fs.ErrPermission
		}
		return nil
	})
	for i := range 2 {
		if err := vfs.WriteFileAtomic(d.fs, "/spool/aquota.user", make([]byte, 10+i)); err != nil {
			t.Fatal(err)
		}
		s, err := adopt("/spool", fsys, new(index.Mem).Open, &AdoptOptions{Work: "/work", Instance: "adopter", MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if n := s.Stats().Staged; n != 3*i {
			t.Errorf("attempt %d: %d segments are staged", i, n)
		}
		stageAll(t, s)
		closeSpool(t, s)
	}
}
