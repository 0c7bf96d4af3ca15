package spool

import (
	"flag"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/spool/segment"
)

var update = flag.Bool("update", false, "write the golden files again")

const (
	goldenDir    = "testdata/v0.1"
	goldenFrozen = "for the golden files"
	goldenNext   = "a manifest that is not acknowledged"
)

func goldenOptions() *Options {
	return &Options{
		Class: "golden", Instance: "writer", Destinations: []string{"idc", "s3"}, SegmentBytes: minSegmentBytes, MemoryBytes: minMemoryBytes,
		MaxBytes: 64 << 20, Sync: SyncAlways,
	}
}

// TestGolden opens directories that version 0.1 has written: one that was closed, and one whose process was killed. Every file
// of theirs but the index, which Open makes again, and files to be used again, is one that later versions read: spool.json, the
// segments, the stage records, the chains, the proposal, and the marks.
func TestGolden(t *testing.T) {
	if *update {
		writeGolden(t)
	}
	for _, name := range []string{"closed", "killed"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "spool")
			if err := os.CopyFS(dir, os.DirFS(filepath.Join(goldenDir, name))); err != nil {
				t.Fatal(err)
			}
			s, err := Open(dir, goldenOptions())
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			checkGolden(t, s, name == "killed")
		})
	}
}

func checkGolden(t *testing.T, s *Spool, killed bool) {
	n := 0
	for r, err := range s.Tail(t.Context(), 0, &TailOptions{Stop: true}) {
		if err != nil {
			t.Fatal(err)
		}
		want := record(n, 100)
		n++
		role, _ := r.Attrs.Get("role")
		if r.Seq != uint64(n) || r.Time != want.Time || string(r.Data) != string(want.Data) || role != "golden" {
			t.Fatalf("record %d: %+v", n, r)
		}
	}
	if n != 35 {
		t.Errorf("%d records, want 35", n)
	}
	for n := uint64(1); n <= 2; n++ {
		rec, err := s.Shelf().StageRecord(n)
		if err != nil || !strings.HasPrefix(rec.Key, "class=golden/dt=") || rec.Format != "test" || rec.SHA256 == "" {
			t.Errorf("stage record %d: %+v %v", n, rec, err)
		}
	}
	if c, err := s.Shelf().Chain("idc"); err != nil || c.Segment != 1 || c.Through != 20 || c.Next != 1 || c.Hash == [32]byte{} {
		t.Errorf("chain %+v %v", c, err)
	}
	if b, err := s.Shelf().Proposed("s3"); err != nil || string(b) != goldenNext {
		t.Errorf("proposal %q %v", b, err)
	}
	if s.Shelf().Frozen() != goldenFrozen {
		t.Errorf("frozen: %q", s.Shelf().Frozen())
	}
	l := s.Ledger()
	if l.Kept.Records != 35 || l.Lost[segment.KernelOverflow].Records != 2 || (len(l.Unaccounted) > 0) != killed {
		t.Errorf("ledger %+v", l)
	}
	balanced(t, s)
}

// writeGolden makes both directories. The killed one is what is on disk before the orderly end.
func writeGolden(t *testing.T) {
	for _, name := range []string{"closed", "killed"} {
		if err := os.RemoveAll(filepath.Join(goldenDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	s, err := Open(dir, goldenOptions())
	if err != nil {
		t.Fatal(err)
	}
	attrs, err := segment.NewAttrs(map[string]string{"role": "golden"})
	if err != nil {
		t.Fatal(err)
	}
	add := func(from, n int) {
		b := batch(from, n, 100)
		for i := range b {
			b[i].Attrs = attrs
		}
		mustAppend(t, s, b)
	}
	lost := segment.Account{Received: segment.Tally{Records: 2}}
	lost.Lost[segment.KernelOverflow] = segment.Loss{Records: 2, BytesUnknown: true}
	s.Intake().Account(lost)
	add(0, 20)
	mustSeal(t, s)
	add(20, 10)
	mustSeal(t, s)
	for n := uint64(1); n <= 2; n++ {
		if _, err := s.Shelf().Stage(t.Context(), n, lineEncoder{}); err != nil {
			t.Fatal(err)
		}
	}
	deliver(t, s, "idc", 1)
	if err := s.Shelf().Propose("s3", []byte(goldenNext), false); err != nil {
		t.Fatal(err)
	}
	if err := s.Shelf().Freeze(goldenFrozen); err != nil {
		t.Fatal(err)
	}
	add(30, 5)
	copyGolden(t, "killed", dir)
	closeSpool(t, s)
	copyGolden(t, "closed", dir)
}

func copyGolden(t *testing.T, name, dir string) {
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		rel, _ := filepath.Rel(dir, path)
		if err != nil || d.IsDir() || strings.HasPrefix(rel, "index.db") || strings.HasPrefix(filepath.ToSlash(rel), freeDir+"/") {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		to := filepath.Join(goldenDir, name, rel)
		if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o644)
	})
	if err != nil {
		t.Fatal(err)
	}
}
