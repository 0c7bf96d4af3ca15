package spool

import (
	"crypto/sha256"
	"errors"
	"path/filepath"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// copies makes, in /first and /second, two copies of one volume, which have each received records of their own in the segment that both
// were writing: 5 and then 3 in the first, 5 and then 1 in the second.
func copies(t *testing.T) vfs.FS {
	t.Helper()
	fsys := vfs.NewMem()
	use := func(dir string, from, n int) {
		t.Helper()
		s := (&disk{fs: fsys, dir: dir, index: new(index.Mem).Open}).open(t, Options{Destinations: []string{"a"}})
		mustAppend(t, s, batch(from, n, 100))
		closeSpool(t, s)
	}
	use("/first", 1, 5)
	copyTree(t, fsys, "/first", "/second")
	use("/first", 6, 3)
	use("/second", 1000, 1)
	return fsys
}

func copyTree(t *testing.T, fsys vfs.FS, from, to string) {
	t.Helper()
	entries, err := fsys.ReadDir(from)
	if err = errors.Join(err, fsys.MkdirAll(to)); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		src, dst := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			copyTree(t, fsys, src, dst)
			continue
		}
		b, err := vfs.ReadFile(fsys, src, 1<<30)
		if err = errors.Join(err, vfs.WriteFileAtomic(fsys, dst, b)); err != nil {
			t.Fatal(err)
		}
	}
}

func adoptCopy(t *testing.T, fsys vfs.FS, dir string) (*Spool, error) {
	t.Helper()
	s, err := adopt(dir, fsys, new(index.Mem).Open, &AdoptOptions{Work: "/work", Instance: "adopter", MaxBytes: 64 << 20})
	if err == nil {
		t.Cleanup(func() { s.Close() })
	}
	return s, err
}

// TestAdoptCopiesAtOnce: a collector finds two copies of a volume at once. Both adoptions have one directory of work. The second gets to
// it at each operation of the first.
func TestAdoptCopiesAtOnce(t *testing.T) {
	for at := 1; ; at++ {
		mem := copies(t)
		n, intruded := 0, false
		fsys := vfs.Inject(mem, func(op vfs.Op) error {
			if n++; n == at {
				intruded = true
				if s, err := adoptCopy(t, mem, "/second"); err == nil {
					closeSpool(t, s)
				}
			}
			return nil
		})
		s, err := adoptCopy(t, fsys, "/first")
		if !intruded {
			return
		}
		if err != nil { // it is tried again
			if s, err = adoptCopy(t, mem, "/first"); err != nil {
				t.Fatal(err)
			}
		}
		if r := s.Stats().Pending["a"].Records; r != 8 {
			t.Errorf("before operation %d: the adopter of the first copy sees %d of 8 records", at, r)
		}
		closeSpool(t, s)
		if s, err = adoptCopy(t, mem, "/second"); err != nil {
			t.Fatal(err)
		}
		if r := s.Stats().Pending["a"].Records; r != 6 {
			t.Errorf("before operation %d: the adopter of the second copy sees %d of 6 records", at, r)
		}
		closeSpool(t, s)
	}
}

// TestAdoptMarkedCopy: a copy of a volume that is marked as delivered is found while the other one is being delivered.
func TestAdoptMarkedCopy(t *testing.T) {
	mem := copies(t)
	s, err := adoptCopy(t, mem, "/second")
	if err != nil {
		t.Fatal(err)
	}
	stageAll(t, s)
	for _, seg := range s.shelf.Sealed(0, 0) {
		deliver(t, s, "a", seg.Number)
	}
	c, err := s.shelf.Chain("a")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.shelf.Propose("a", []byte("final"), true); err != nil {
		t.Fatal(err)
	}
	c.Next++
	c.Hash, c.Final = sha256.Sum256([]byte("final")), true
	if err := s.shelf.Ack("a", c); err != nil {
		t.Fatal(err)
	}
	if err := s.shelf.MarkAdopted(); err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)

	if s, err = adoptCopy(t, mem, "/first"); err != nil {
		t.Fatal(err)
	}
	if _, err := adoptCopy(t, mem, "/second"); err == nil {
		t.Error("the marked one is adopted again")
	}
	if got := stageAll(t, s); len(got) != 8 {
		t.Errorf("%d records are staged", len(got))
	}
	closeSpool(t, s)
}
