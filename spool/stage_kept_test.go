package spool

import (
	"bytes"
	"path/filepath"
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
			for _, whole := range []bool{true, false} {
				t.Run(c.what, func(t *testing.T) {
					d := memDir()
					s := threeSegments(t, d, Options{})
					n := s.shelf.Sealed(0, 0)[1].Number
					if _, err := s.shelf.Stage(t.Context(), n, lineEncoder{}); err != nil {
						t.Fatal(err)
					}
					closeSpool(t, s)
					c.hurt(t, d, s, n)
					if !whole {
						flip(t, d, s.segPath(n), 13)
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
					if whole {
						wantRecords(t, got, 30, 500)
						if len(s.shelf.Damages()) != 0 {
							t.Errorf("damage: %+v", s.shelf.Damages())
						}
					} else {
						wantGap(t, s, got, 13, 14, 30)
						wantStagedKept(t, d, s, was)
					}
				})
			}
		}
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
