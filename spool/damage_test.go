package spool

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// flip changes a byte of record i in a file.
func flip(t *testing.T, d *disk, path string, i int) {
	t.Helper()
	f, err := d.fs.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, size)
	if _, err := f.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	off := bytes.Index(b, fmt.Appendf(nil, "record %d ", i))
	if off < 0 {
		t.Fatalf("record %d is not in %s", i, path)
	}
	flipAt(t, d, path, int64(off))
}

func flipAt(t *testing.T, d *disk, path string, off int64) {
	t.Helper()
	f, err := d.fs.OpenRW(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := make([]byte, 1)
	if _, err := f.ReadAt(b, off); err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte{b[0] ^ 0x40}, off); err != nil {
		t.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		t.Fatal(err)
	}
}

// threeSegments makes a spool of three sealed segments with ten records each, in blocks of two.
func threeSegments(t *testing.T, d *disk, o Options) *Spool {
	t.Helper()
	o.Destinations = []string{"a"}
	s := d.open(t, o)
	n := 0
	for range 3 {
		for range 5 {
			mustAppend(t, s, batch(n+1, 2, 500))
			n += 2
		}
		mustSeal(t, s)
	}
	return s
}

// wantGap checks that exactly the given records are missing, everywhere.
func wantGap(t *testing.T, s *Spool, got map[uint64]string, first, last, n uint64) {
	t.Helper()
	for i := uint64(1); i <= n; i++ {
		_, ok := got[i]
		if ok == (i >= first && i <= last) {
			t.Errorf("record %d is there: %v", i, ok)
		}
	}
	var gaps []segment.Range
	for _, seg := range s.shelf.Sealed(0, 0) {
		gaps = append(gaps, seg.Gaps...)
		rec, err := s.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(rec.Gaps, seg.Gaps) || rec.Records != seg.Records || rec.Bytes != seg.Bytes {
			t.Errorf("stage record and segment do not agree: %+v, %+v", rec, seg)
		}
	}
	if want := []segment.Range{{First: first, Last: last}}; !slices.Equal(gaps, want) {
		t.Errorf("gaps %v, want %v", gaps, want)
	}
	if d := s.Ledger().Damaged; d.Records != last-first+1 || d.Bytes != 500*d.Records {
		t.Errorf("damaged %+v", d)
	}
	balanced(t, s)
	deliver(t, s, "a", lastSegment(s))
	balanced(t, s)
}

func TestDamagedSegment(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	n := s.shelf.Sealed(0, 0)[1]
	flip(t, d, s.segPath(n.Number), 13)
	wantGap(t, s, stageAll(t, s), 13, 14, 30)
}

func TestDamagedBeforeRebuild(t *testing.T) {
	for _, lost := range []bool{false, true} {
		mem := new(index.Mem)
		d := memDir()
		d.index = mem.Open
		s := threeSegments(t, d, Options{})
		n := s.shelf.Sealed(0, 0)[1]
		flip(t, d, s.segPath(n.Number), 13)
		closeSpool(t, s)
		if lost {
			*mem = index.Mem{}
		}
		s = d.open(t, Options{Destinations: []string{"a"}})
		wantGap(t, s, stageAll(t, s), 13, 14, 30)
	}
}

func TestMissingSegment(t *testing.T) {
	for _, lost := range []bool{false, true} {
		for i, gap := range []segment.Range{{First: 1, Last: 10}, {First: 11, Last: 20}, {First: 21, Last: 30}} {
			mem := new(index.Mem)
			d := memDir()
			d.index = mem.Open
			s := threeSegments(t, d, Options{})
			path := s.segPath(s.shelf.Sealed(0, 0)[i].Number)
			closeSpool(t, s)
			if err := d.fs.Remove(path); err != nil {
				t.Fatal(err)
			}
			if lost {
				*mem = index.Mem{}
			}
			for range 2 { // the second time there is nothing new
				s = d.open(t, Options{Destinations: []string{"a"}})
				if last := s.Stats().Appended; last != 30 {
					t.Fatalf("the log ends with %d", last)
				}
				closeSpool(t, s)
			}
			s = d.open(t, Options{Destinations: []string{"a"}})
			wantGap(t, s, stageAll(t, s), gap.First, gap.Last, 30)
		}
	}
}

// Blocks in the active segment that were synced, or existed at an orderly end, are never a torn tail.
func TestDamagedActive(t *testing.T) {
	for _, clean := range []bool{true, false} {
		d := memDir()
		s := d.open(t, Options{Sync: SyncAlways, Destinations: []string{"a"}})
		for i := range 5 {
			mustAppend(t, s, batch(1+2*i, 2, 500))
		}
		path := s.segPath(1)
		closeSpool(t, s)
		if !clean {
			if err := d.fs.Remove("/spool/" + cleanName); err != nil {
				t.Fatal(err)
			}
		}
		flip(t, d, path, 3)
		s = d.open(t, Options{Destinations: []string{"a"}})
		mustAppend(t, s, batch(11, 2, 500))
		mustSeal(t, s)
		wantGap(t, s, stageAll(t, s), 3, 4, 12)
	}
}

// The header of the active segment is damaged, and nothing is lost by that.
func TestDamagedHeader(t *testing.T) {
	for _, off := range []int64{0, 9, 16, 33, 60, 90, 200} {
		d := memDir()
		s := d.open(t, Options{Sync: SyncAlways, Destinations: []string{"a"}})
		for i := range 5 {
			mustAppend(t, s, batch(1+2*i, 2, 500))
		}
		path := s.segPath(1)
		closeSpool(t, s)
		flipAt(t, d, path, off)
		s = d.open(t, Options{Destinations: []string{"a"}})
		mustAppend(t, s, batch(11, 2, 500))
		mustSeal(t, s)
		wantRecords(t, stageAll(t, s), 12, 500)
		balanced(t, s)
	}
}

func TestStagedFileLost(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	n := s.shelf.Sealed(0, 0)[0].Number
	first, err := s.shelf.Stage(t.Context(), n, lineEncoder{})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.fs.Remove(s.objPath(n)); err != nil {
		t.Fatal(err)
	}
	used := s.Stats().Used
	again, err := s.shelf.Stage(t.Context(), n, lineEncoder{})
	if err != nil || again.SHA256 != first.SHA256 || again.Key != first.Key {
		t.Fatalf("%+v, %v", again, err)
	}
	if now := s.Stats().Used; now != used {
		t.Errorf("used %d, was %d", now, used)
	}
	closeSpool(t, s)
	// A record without its file, and a file without its record.
	if err := d.fs.Remove(s.objPath(n)); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, Options{Destinations: []string{"a"}})
	if s.shelf.Sealed(0, 1)[0].Staged {
		t.Error("said to be staged")
	}
	if again, err = s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil || again.SHA256 != first.SHA256 {
		t.Fatalf("%+v, %v", again, err)
	}
	closeSpool(t, s)
	if err := d.fs.Remove(s.recPath(n)); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, Options{Destinations: []string{"a"}})
	wantRecords(t, stageAll(t, s), 30, 500)
	balanced(t, s)
}

func TestForeignSegment(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	n := s.shelf.Sealed(0, 0)[1].Number
	path := s.segPath(n)
	closeSpool(t, s)
	// It must be foreign only by its spool. A number is left out when the writer is faster than the spare.
	var other *disk
	for same := false; !same; {
		other = memDir()
		o := threeSegments(t, other, Options{})
		same = o.shelf.Sealed(0, 0)[1].Number == n
		closeSpool(t, o)
	}
	copyTo(t, other, path, d, path)
	d.index = new(index.Mem).Open
	s = d.open(t, Options{Destinations: []string{"a"}})
	wantGap(t, s, stageAll(t, s), 11, 20, 30)
	if names, err := d.fs.ReadDir("/spool/" + damagedDir); err != nil || len(names) != 2 {
		t.Errorf("set aside: %v, %v", names, err)
	}
}

func copyTo(t *testing.T, from *disk, src string, to *disk, dst string) {
	t.Helper()
	f, err := from.fs.Open(src)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	size, _ := f.Size()
	if err := to.fs.Remove(dst); err != nil {
		t.Fatal(err)
	}
	g, err := to.fs.Create(dst)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := copyFile(g, f, size, false); err != nil {
		t.Fatal(err)
	}
}

func TestLockedNamesHolder(t *testing.T) {
	d := memDir()
	d.open(t, Options{Instance: "here", Class: "vpn"})
	_, err := d.tryOpen(t, Options{Instance: "there", Class: "vpn"})
	if !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), "of here, class vpn") {
		t.Fatalf("error %v", err)
	}
}

// A note that cannot be read may have named the segment's file: so the file is kept when the segment is delivered and deleted.
func TestUnreadableNoteKeepsFile(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	n := s.shelf.Sealed(0, 1)[0].Number
	closeSpool(t, s)
	if err := vfs.WriteFileAtomic(d.fs, s.notePath(n), []byte("{")); err != nil {
		t.Fatal(err)
	}
	s = d.open(t, Options{Destinations: []string{"a"}})
	defer closeSpool(t, s)
	for _, seg := range s.shelf.Sealed(0, 0) {
		if _, err := s.shelf.Stage(t.Context(), seg.Number, gzipEncoder{}); err != nil {
			t.Fatal(err)
		}
		deliver(t, s, "a", seg.Number)
	}
	until(t, s, "deleted", func() bool { return s.Stats().Segments == 0 })
	kept := s.path(damagedDir, numberName(n)+segExt)
	if _, err := d.fs.Stat(kept); err != nil {
		t.Error(err)
	}
	if x := s.damages.list(); len(x) != 1 || x[0].GivenUp || len(x[0].Files) != 1 || x[0].Files[0] != kept {
		t.Errorf("damage on record: %+v", x)
	}
}
