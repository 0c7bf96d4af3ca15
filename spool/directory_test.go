package spool_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestDirectoryMatrix damages every file of a spool in every way and reads its directory then. Nothing is changed, every record
// that recovery finds is found, as it was appended, and records missing within a segment are reported.
func TestDirectoryMatrix(t *testing.T) {
	t.Parallel()
	for i, m := range []struct{ orderly, noIndex bool }{{false, false}, {true, false}} {
		var files []string
		synctest.Test(t, func(t *testing.T) { files = newMatrixScene(t, m.orderly, m.noIndex).files })
		for j, path := range files {
			for k, how := range slices.Sorted(maps.Keys(hurts)) {
				if !*damageAll && (j+k)%2 != i {
					continue
				}
				name := fmt.Sprintf("orderly=%v %s %s", m.orderly, strings.TrimPrefix(path, "/spool/"), how)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						s := newMatrixScene(t, m.orderly, m.noIndex)
						if hurts[how](s, path) {
							// After an orderly end recovery believes the index: it meets damage in a segment when that is staged.
							s.readAll(t, m.orderly && strings.Contains(path, "/seg/"))
						}
					})
				})
			}
		}
	}
}

func (s *matrixScene) readAll(t *testing.T, unseen bool) {
	t.Helper()
	before := s.snapshot()
	d, list, err := s.host.ReadDirectory()
	if err != nil {
		t.Fatal(err)
	}
	seen, gaps := map[uint64]bool{}, uint64(0)
	staged := uint64(0)
	for _, x := range list {
		if x.State == spool.SegmentStaged {
			staged += x.Records
		}
		if x.Path == "" || x.State == spool.SegmentBlank || x.State == spool.SegmentUnreadable {
			continue
		}
		r, err := s.host.OpenSegment(x)
		if err != nil {
			t.Fatal(err)
		}
		for {
			seq, rec, err := r.Next()
			if damage, ok := errors.AsType[*segment.DamageError](err); ok {
				if g, lost := damage.Range(); lost && g.Last != segment.Unbounded {
					gaps += g.Last + 1 - g.First
				}
				continue
			}
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if seen[seq] || !bytes.Equal(rec.Data, record(seq)) {
				t.Errorf("segment %d: record %d is doubled or altered: %q", x.Number, seq, rec.Data)
			}
			seen[seq] = true
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !maps.EqualFunc(before, s.snapshot(), bytes.Equal) {
		t.Error("reading has changed files")
	}
	p, err := s.host.PlanRepair(noFault, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := uint64(len(seen)) + staged; got < p.Records && !unseen {
		t.Errorf("%d records, and %d staged, were found; recovery finds %d: %+v", len(seen), staged, p.Records, d.Problems)
	}
	if got := uint64(len(seen)) + staged + gaps; got > s.kept {
		t.Errorf("%d records, %d staged and %d missing: there were %d", len(seen), staged, gaps, s.kept)
	}
}

// TestDirectoryBeside reads the directory of a spool that a process has open, and of the same spool afterwards.
func TestDirectoryBeside(t *testing.T) {
	dir := diskSpool(t)
	look := func() (*spool.Directory, []*spool.SegmentFile) {
		t.Helper()
		d, err := spool.ReadDirectory(dir)
		if err != nil {
			t.Fatal(err)
		}
		list, err := d.ReadSegments()
		if err != nil {
			t.Fatal(err)
		}
		return d, list
	}
	before := tree(t, dir)
	d, list := look()
	if d.Open || !d.Clean || d.Class != "vpn" || d.Next != 31 || d.Destinations["idc"].Pending.Records != 30 || len(d.Problems) > 0 {
		t.Errorf("%+v", d)
	}
	if n := len(list); n < 3 || list[0].State != spool.SegmentSealed || list[0].Records != 10 {
		t.Errorf("%d segments, %+v", n, list[0])
	}
	if after := tree(t, dir); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Error("reading has changed something")
	}
	sp := openDisk(t, dir)
	if _, err := sp.Append(t.Context(), []segment.Record{{Data: []byte("record 31")}}); err != nil {
		t.Fatal(err)
	}
	d, list = look()
	if !d.Open || d.Holder == "" || d.Clean || len(d.Problems) > 0 {
		t.Errorf("%+v", d)
	}
	var active *spool.SegmentFile
	for _, s := range list {
		if s.State == spool.SegmentActive {
			active = s
		}
	}
	if active == nil || active.Last < 30 {
		t.Fatalf("no active segment: %+v", list)
	}
	r, err := active.Open()
	if err != nil {
		t.Fatal(err)
	}
	last := uint64(0)
	for {
		seq, _, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		last = seq
	}
	if err := errors.Join(r.Close(), sp.Close()); err != nil || last != 31 {
		t.Errorf("%v, the last record is %d", err, last)
	}
	if _, err := spool.ReadDirectory(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "spool.json"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d, _ = look(); d.Class != "vpn" || len(d.Problems) != 1 || !d.Problems[0].Harmless {
		t.Errorf("%+v", d)
	}
}

// TestDirectoryLastCopy: a temporary file that is the copy of a segment is harmless as long as that segment's own file exists. If that
// file was moved to damaged/, the next start needs the copy.
func TestDirectoryLastCopy(t *testing.T) {
	dir := diskSpool(t)
	d, err := spool.ReadDirectory(dir)
	if err != nil {
		t.Fatal(err)
	}
	list, err := d.ReadSegments()
	if err != nil {
		t.Fatal(err)
	}
	own := filepath.Join(dir, list[0].Path)
	b, err := os.ReadFile(own)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(own+vfs.TempSuffix, b, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, last := range []bool{false, true} {
		if last {
			if err := os.Rename(own, filepath.Join(dir, "damaged", filepath.Base(own))); err != nil {
				t.Fatal(err)
			}
		}
		d, err := spool.ReadDirectory(dir)
		if err != nil {
			t.Fatal(err)
		}
		i := slices.IndexFunc(d.Problems, func(p spool.Problem) bool { return p.Path == list[0].Path+vfs.TempSuffix })
		if i < 0 || d.Problems[i].Harmless == last {
			t.Errorf("it is the last copy: %v, problems: %+v", last, d.Problems)
		}
	}
}
