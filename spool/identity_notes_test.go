package spool

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// identityLost returns a spool after a kill, with two segments of which the first is staged, without spool.json, without the
// states of its chains, and with a segment header that cannot be read in none of its files.
func identityLost(t *testing.T) (d *disk, o Options, id string) {
	t.Helper()
	d = memDir()
	o = Options{Class: "vpn", Instance: "host-a", Destinations: []string{"a", "b"}, Sync: SyncAlways, SegmentAge: time.Hour}
	s := d.open(t, o)
	for n := range 2 {
		mustAppend(t, s, batch(1+10*n, 10, 100))
		mustSeal(t, s)
	}
	if _, err := s.shelf.Stage(t.Context(), s.shelf.Sealed(0, 1)[0].Number, gzipEncoder{}); err != nil {
		t.Fatal(err)
	}
	mustAppend(t, s, batch(21, 10, 100))
	id = s.Stats().Spool
	left := d.fs.(*vfs.Mem).CrashClone(vfs.Crash{})
	closeSpool(t, s)
	d.fs = left
	for _, path := range []string{s.path(identityName), s.chainPath("a"), s.chainPath("b")} {
		if err := left.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	numbers, err := s.listSegments()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		f, err := left.OpenRW(s.segPath(n))
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, headerPad)
		for i := range b {
			b[i] = 0xa5
		}
		if _, err := f.WriteAt(b, 0); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return d, o, id
}

// When neither spool.json nor a chain state nor a segment's header can be read, the stage records and the note of the newest
// segment still name the spool. Each of the two is enough.
func TestIdentityOfNotes(t *testing.T) {
	for name, gone := range map[string][]string{
		"both":         nil,
		"stage record": {begunName},
		"note":         {stageDir},
	} {
		t.Run(name, func(t *testing.T) {
			d, o, id := identityLost(t)
			for _, name := range gone {
				removeAll(t, d, name)
			}
			s := d.open(t, o)
			defer closeSpool(t, s)
			if got := s.Stats().Spool; got != id {
				t.Errorf("it is spool %s now, and was %s", got, id)
			}
			for _, dest := range o.Destinations {
				if c, err := s.shelf.Chain(dest); err != nil || c.Through != 0 {
					t.Errorf("chain of %s: %+v, %v: it must not be taken for delivered", dest, c, err)
				}
			}
			mustAppend(t, s, batch(int(s.Stats().Appended)+1, 1, 10))
			balanced(t, s)
		})
	}
}

// If no file names the spool, files that may hold records do not become those of a new spool.
func TestNoNewIdentityForRecords(t *testing.T) {
	for name, gone := range map[string][]string{
		"segments":     {begunName, stageDir},
		"staged files": {begunName, segDir, stageDir + "/*.json"},
	} {
		t.Run(name, func(t *testing.T) {
			d, o, _ := identityLost(t)
			for _, name := range gone {
				removeAll(t, d, name)
			}
			s, err := d.tryOpen(t, o)
			if err == nil {
				t.Fatalf("opened as spool %s", s.Stats().Spool)
			}
			t.Log(err)
			if _, err := d.fs.Stat(filepath.Join(d.dir, identityName)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("it made an identity: %v", err)
			}
		})
	}
}

// removeAll removes a file of a spool, or the files of one of its directories: all of them, or those with an ending.
func removeAll(t *testing.T, d *disk, name string) {
	t.Helper()
	dir, ext, _ := strings.Cut(name, "/*")
	entries, err := d.fs.ReadDir(filepath.Join(d.dir, dir))
	if err != nil { // a file
		if err := d.fs.Remove(filepath.Join(d.dir, name)); err != nil {
			t.Fatal(err)
		}
		return
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), ext) {
			if err := d.fs.Remove(filepath.Join(d.dir, dir, e.Name())); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// A stage record of another spool is not used: the segment is staged again, under the key of this spool, and the other
// spool's files are kept for the operator.
func TestForeignStageRecord(t *testing.T) {
	stagedFiles := map[string][]byte{}
	for _, foreign := range []bool{true, false} {
		d := memDir()
		s := threeSegments(t, d, Options{})
		n := s.shelf.Sealed(0, 1)[0].Number
		if foreign {
			if _, err := s.shelf.Stage(t.Context(), n, gzipEncoder{}); err != nil {
				t.Fatal(err)
			}
			for _, path := range []string{s.recPath(n), s.objPath(n)} {
				b, err := vfs.ReadFile(d.fs, path, 1<<20)
				if err != nil {
					t.Fatal(err)
				}
				stagedFiles[path] = b
			}
			closeSpool(t, s)
			continue
		}
		closeSpool(t, s)
		for path, b := range stagedFiles {
			if err := vfs.WriteFileAtomic(d.fs, path, b); err != nil {
				t.Fatal(err)
			}
		}
		s = d.open(t, Options{Destinations: []string{"a"}})
		defer closeSpool(t, s)
		rec, err := s.shelf.Stage(t.Context(), n, gzipEncoder{})
		if err != nil || rec.Spool != s.Stats().Spool || !strings.Contains(rec.Key, rec.Spool) {
			t.Errorf("staged as %+v, %v", rec, err)
		}
		kept, err := d.fs.ReadDir(s.path(damagedDir))
		if err != nil || len(kept) != 2 {
			t.Errorf("%d files of the other spool are kept, %v", len(kept), err)
		}
	}
}
