package spool

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// FuzzOpen changes bytes in the files of a spool and opens it without its index. Whatever they are, no record is served
// under another's number, and what is missing is said to be.
func FuzzOpen(f *testing.F) {
	d := memDir()
	o := Options{Sync: SyncAlways, Destinations: []string{"a"}, Logger: slog.New(slog.DiscardHandler)}
	small(&o)
	s, err := open(d.dir, d.fs, d.index, &o)
	if err != nil {
		f.Fatal(err)
	}
	n := 0
	for i := range 4 {
		for range 4 {
			if _, err := s.Append(f.Context(), batch(n+1, 3, 200)); err != nil {
				f.Fatal(err)
			}
			n += 3
		}
		if i < 3 {
			if err := s.Seal(f.Context()); err != nil {
				f.Fatal(err)
			}
		}
	}
	if _, err := s.shelf.Stage(f.Context(), s.shelf.Sealed(0, 1)[0].Number, lineEncoder{}); err != nil {
		f.Fatal(err)
	}
	if err := s.Close(); err != nil {
		f.Fatal(err)
	}
	var files []string
	for _, dir := range []string{"", segDir, stageDir, chainDir} {
		entries, err := d.fs.ReadDir(s.path(dir))
		if err != nil {
			f.Fatal(err)
		}
		for _, e := range entries {
			if !e.IsDir() && e.Name() != lockName {
				files = append(files, s.path(dir, e.Name()))
			}
		}
	}
	mem := d.fs.(*vfs.Mem)
	for i := range files {
		f.Add(uint8(i), uint32(0), []byte{0})
		f.Add(uint8(i), uint32(24), []byte{1, 2, 3, 4, 5, 6, 7, 8})
		f.Add(uint8(i), uint32(4096), make([]byte, 100))
		f.Add(uint8(i), uint32(5000), []byte("garbage"))
	}
	f.Fuzz(func(t *testing.T, file uint8, off uint32, garbage []byte) {
		k := mem.CrashClone(vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept})
		path := files[int(file)%len(files)]
		g, err := k.OpenRW(path)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
		size, err := g.Size()
		if err != nil {
			t.Fatal(err)
		}
		at := int64(off)
		if size > 0 {
			at %= size
		}
		if len(garbage) == 0 {
			err = g.Truncate(at)
		} else {
			_, err = g.WriteAt(garbage, at)
		}
		if err != nil {
			t.Fatal(err)
		}
		s, err := open(d.dir, k, new(index.Mem).Open, &o)
		if err != nil {
			return // refused, with everything still there
		}
		defer s.Close()
		if err := s.Seal(t.Context()); err != nil {
			t.Fatal(err)
		}
		have := map[uint64]bool{}
		for _, seg := range s.shelf.Sealed(0, 0) {
			rec, err := s.shelf.Stage(t.Context(), seg.Number, lineEncoder{})
			if err != nil {
				t.Fatal(err)
			}
			got := map[uint64]string{}
			readStaged(t, s, rec, got)
			for seq, payload := range got {
				if !strings.HasPrefix(payload, fmt.Sprintf("record %d ", seq)) {
					t.Fatalf("record %d is %.30q", seq, payload)
				}
				have[seq] = true
			}
			for _, gap := range rec.Gaps {
				for seq := gap.First; seq <= gap.Last && seq-gap.First < 1000; seq++ {
					have[seq] = true
				}
			}
		}
		for seq := uint64(1); seq <= uint64(n); seq++ {
			if !have[seq] {
				t.Fatalf("record %d is neither there nor said to be missing", seq)
			}
		}
	})
}
