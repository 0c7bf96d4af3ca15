package spool

import (
	"bytes"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// A staged file that cannot be used is the only copy of records that its segment's own file has lost since: it is set aside, and the
// note of the damage names it. If the segment's own file has every record, the staged file is replaced, and nothing is set aside.
func TestUnusableStagedFileIsKept(t *testing.T) {
	for _, c := range []struct {
		what string
		hurt func(t *testing.T, d *disk, s *Spool, n uint64)
	}{
		{"its record is damaged", func(t *testing.T, d *disk, s *Spool, n uint64) { flipAt(t, d, s.recPath(n), 100) }},
		{"it is longer than its record says", func(t *testing.T, d *disk, s *Spool, n uint64) {
			b, err := vfs.ReadFile(d.fs, s.objPath(n), 1<<20)
			if err == nil {
				err = vfs.WriteFileAtomic(d.fs, s.objPath(n), append(b, '\n'))
			}
			if err != nil {
				t.Fatal(err)
			}
		}},
		{"it is damaged", func(t *testing.T, d *disk, s *Spool, n uint64) { flipAt(t, d, s.objPath(n), 10) }},
	} {
		for _, indexed := range []bool{true, false} {
			for _, raw := range []string{"whole", "damaged", "cut"} {
				t.Run(fmt.Sprintf("%s, its segment's file is %s, index %v", c.what, raw, indexed), func(t *testing.T) {
					d := memDir()
					s := threeSegments(t, d, Options{})
					n := s.shelf.Sealed(0, 0)[1].Number
					if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil {
						t.Fatal(err)
					}
					closeSpool(t, s)
					c.hurt(t, d, s, n)
					last := uint64(14)
					switch raw {
					case "damaged":
						flip(t, d, s.segPath(n), 13)
					case "cut": // so that Open reads what is left of it
						cut(t, d, s.segPath(n), 13)
						last = 20
						if err := d.fs.Remove(s.path(cleanName)); err != nil {
							t.Fatal(err)
						}
					}
					if !indexed {
						d.index = new(index.Mem).Open
					}
					was, err := vfs.ReadFile(d.fs, s.objPath(n), 1<<20)
					if err != nil {
						t.Fatal(err)
					}
					s = d.open(t, Options{Destinations: []string{"a"}})
					defer s.shelf.hold()() // otherwise the damaged segment is deleted once it is delivered, and its file kept too
					var got map[uint64]string
					for range refusals { // a destination may give back a damaged one
						if _, err = s.shelf.Stage(t.Context(), n, lineEncoder{}); err == nil {
							got = stageAll(t, s)
							break
						}
					}
					if err != nil {
						t.Fatal(err)
					}
					if raw == "whole" {
						wantRecords(t, got, 30, 500)
						if len(s.shelf.Damages()) != 0 {
							t.Errorf("damage: %+v", s.shelf.Damages())
						}
					} else {
						wantGap(t, s, got, 13, last, 30)
						wantStagedKept(t, d, s, was)
					}
				})
			}
		}
	}
}

// cut cuts a file off at a record.
func cut(t *testing.T, d *disk, path string, i int) {
	t.Helper()
	b, err := vfs.ReadFile(d.fs, path, 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	off := bytes.Index(b, fmt.Appendf(nil, "record %d ", i))
	if off < 0 {
		t.Fatalf("record %d is not in %s", i, path)
	}
	if err := vfs.WriteFileAtomic(d.fs, path, b[:off]); err != nil {
		t.Fatal(err)
	}
}

// TestAdopterKeepsStagedFile: an adopter has staged a segment in its own directory. Then the stage record, and a record in the source,
// are damaged. The next adopter sets the staged file aside in that directory, and the note of the damage names it.
func TestAdopterKeepsStagedFile(t *testing.T) {
	d := memDir()
	s := threeSegments(t, d, Options{})
	n := s.shelf.Sealed(0, 0)[1].Number
	raw := s.segPath(n)
	closeSpool(t, s)
	adopted := func() *Spool {
		t.Helper()
		s, err := adopt("/spool", d.fs, new(index.Mem).Open, &AdoptOptions{Work: "/work", Instance: "adopter", MaxBytes: 64 << 20})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	s = adopted()
	stageAll(t, s)
	was, err := vfs.ReadFile(d.fs, s.objPath(n), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	closeSpool(t, s)
	flip(t, d, raw, 13)
	flipAt(t, d, s.recPath(n), 100)
	for _, when := range []string{"staged again", "adopted again"} {
		s = adopted()
		if when == "staged again" {
			wantGap(t, s, stageAll(t, s), 13, 14, 30)
		}
		x := s.shelf.Damages()
		if len(x) != 1 || x[0].GivenUp {
			t.Fatalf("%s: damage %+v", when, x)
		}
		i := slices.IndexFunc(x[0].Files, func(path string) bool { return strings.HasPrefix(path, s.path(damagedDir)) })
		if i < 0 {
			t.Fatalf("%s: the note names %q", when, x[0].Files)
		}
		if b, err := vfs.ReadFile(d.fs, x[0].Files[i], 1<<20); err != nil || !bytes.Equal(b, was) {
			t.Errorf("%s: %s: %v, %d bytes of %d", when, x[0].Files[i], err, len(b), len(was))
		}
		if fixed := s.space.usage().fixed; fixed != int64(len(was)) {
			t.Errorf("%s: %d bytes count as files that stay, and %d do", when, fixed, len(was))
		}
		closeSpool(t, s)
	}
}

// wantStagedKept checks that the note of the damage names one staged file, with the given contents.
func wantStagedKept(t *testing.T, d *disk, s *Spool, contents []byte) {
	t.Helper()
	var kept []string
	for _, x := range s.shelf.Damages() {
		for _, path := range x.Files {
			if strings.HasSuffix(path, objExt) && filepath.Base(filepath.Dir(path)) == damagedDir {
				kept = append(kept, path)
			}
		}
	}
	if len(kept) != 1 {
		t.Fatalf("the damage names the staged files %v", kept)
	}
	if fixed := s.space.usage().fixed; fixed != int64(len(contents)) {
		t.Errorf("%d bytes count as files that stay, and %d do", fixed, len(contents))
	}
	if b, err := vfs.ReadFile(d.fs, kept[0], 1<<20); err != nil || !bytes.Equal(b, contents) {
		t.Errorf("the staged file that was kept: %v, %d bytes of %d", err, len(b), len(contents))
	}
}
