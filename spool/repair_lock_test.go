package spool

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// TestRepairLocksWithoutFile: a spool whose lock file somebody has removed is locked all the same while it is repaired.
func TestRepairLocksWithoutFile(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("directories cannot be locked")
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, segDir), 0o700); err != nil {
		t.Fatal(err)
	}
	r := &repairer{dir: dir, fs: vfs.OS(), look: index.Preview, open: index.Open}
	unlock, err := r.lock()
	if err != nil {
		t.Fatal(err)
	}
	l, err := vfs.OS().Lock(filepath.Join(dir, lockName), "a service")
	if !errors.Is(err, vfs.ErrLocked) {
		t.Fatalf("a service that starts meanwhile: %v, %v", l, err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	l, err = vfs.OS().Lock(filepath.Join(dir, lockName), "a service")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
}
