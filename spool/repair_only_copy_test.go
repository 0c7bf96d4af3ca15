package spool_test

import (
	"bytes"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestRepairNotMounted: a link to a file of the spool that leads nowhere now may lead to a disk that is not mounted. A repair leaves it to the
// operator: without the file its records would count as damaged.
func TestRepairNotMounted(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("needs symbolic links")
	}
	for _, name := range []string{"seg/*.seg", "seg", "chain/idc.json", "spool.json", "damaged"} {
		t.Run(name, func(t *testing.T) {
			dir := diskSpool(t)
			paths, err := filepath.Glob(filepath.Join(dir, name))
			if err != nil || len(paths) == 0 {
				t.Fatal(paths, err)
			}
			disk := filepath.Join(t.TempDir(), "disk")
			other := filepath.Join(disk, "x")
			if err := errors.Join(os.Mkdir(disk, 0o700), os.Rename(paths[0], other), os.Symlink(other, paths[0])); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(disk, disk+"-elsewhere"); err != nil {
				t.Fatal(err)
			}
			p, err := spool.PlanRepair(dir, nil)
			if err != nil {
				if name != "seg" && name != "spool.json" {
					t.Fatal(err)
				}
				return
			}
			if p.Refused == "" {
				t.Errorf("what is on a disk that is not mounted is given up: %+v, %+v", p.Changes, p.Damages)
			}
		})
	}
}

// nameless removes files of a spool, and has its segments not say whose they are.
func nameless(t *testing.T, dir string, files ...string) {
	t.Helper()
	for _, name := range files {
		if err := os.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	for _, path := range segments(t, dir) {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		b = bytes.Clone(b[:len(b)-40]) // no footer
		copy(b, make([]byte, 40))
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepairIdentityOfAnother: a copy of spool.json that any file contradicts is not accepted. Its records would be those of another spool,
// or of none.
func TestRepairIdentityOfAnother(t *testing.T) {
	foreign, err := os.ReadFile(filepath.Join(diskSpool(t), "spool.json"))
	if err != nil {
		t.Fatal(err)
	}
	dir := diskSpool(t)
	own, err := os.ReadFile(filepath.Join(dir, "spool.json"))
	if err != nil {
		t.Fatal(err)
	}
	nameless(t, dir, "spool.json", "clean", "chain/idc.json") // the note of the newest segment is left
	p, err := spool.PlanRepair(dir, &spool.RepairOptions{Identity: foreign})
	if err != nil || p.Refused == "" {
		t.Errorf("%v, %+v", err, p)
	}
	if p, err = spool.PlanRepair(dir, &spool.RepairOptions{Identity: own}); err != nil || p.Refused != "" {
		t.Errorf("its own: %v, %+v", err, p)
	}
}

// TestRepairOldIdentity: an older copy of spool.json does not begin an epoch again that is over: two objects would have one name.
func TestRepairOldIdentity(t *testing.T) {
	dir := diskSpool(t)
	old, err := os.ReadFile(filepath.Join(dir, "spool.json"))
	if err != nil {
		t.Fatal(err)
	}
	sp, err := spool.Open(dir, &spool.Options{
		Class: "vpn", Instance: "successor", Destinations: []string{"idc"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20, SegmentAge: time.Hour,
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sp.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("of the next epoch")}}); err != nil {
		t.Fatal(err)
	}
	if err := sp.Close(); err != nil {
		t.Fatal(err)
	}
	nameless(t, dir, "spool.json", "clean", "chain/idc.json")
	p, err := spool.PlanRepair(dir, &spool.RepairOptions{Identity: old})
	if err != nil || p.Refused != "" {
		t.Fatalf("%v, %+v", err, p)
	}
	if _, err := p.Apply(); err != nil {
		t.Fatal(err)
	}
	if d, err := spool.ReadDirectory(dir); err != nil || d.Epoch < 2 {
		t.Errorf("epoch %d, %v", d.Epoch, err)
	}
}

// TestRepairDiskFull: an attempt that cannot keep what it would replace leaves the directory as it was.
func TestRepairDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMatrixScene(t, false, false)
		hurts["zeroed page"](s, "/spool/seg/"+numberOf(s, 0))
		s.host = s.host.Crash(vfs.Crash{Data: vfs.DataKept, Names: vfs.NamesKept})
		p, err := s.host.PlanRepair(func(op vfs.Op) error {
			if strings.Contains(op.Path, "/kept-") && op.Kind == vfs.OpSync {
				return errors.New("no space")
			}
			return nil
		}, nil)
		if err != nil {
			t.Fatal(err)
		}
		before := slices.Sorted(maps.Keys(s.snapshot()))
		if kept, err := p.Apply(); err == nil || kept != "" {
			t.Errorf("%q, %v", kept, err)
		}
		if after := slices.Sorted(maps.Keys(s.snapshot())); !slices.Equal(before, after) {
			t.Errorf("it leaves %q, not %q", after, before)
		}
	})
}
