package main

import (
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/penstock-go/penstock/spool"
)

func testClass(dir, name string, quota int64) *class {
	return &class{name: name, dir: filepath.Join(dir, name), spoolOptions: spool.Options{MaxBytes: quota}}
}

// TestShareDisk: classes on one file system share it.
func TestShareDisk(t *testing.T) {
	dir := t.TempDir()
	_, total, err := fileSystem(dir)
	switch {
	case err != nil && runtime.GOOS == "linux":
		t.Fatal(err)
	case err != nil:
		t.Skip(err)
	}
	a, b, c := testClass(dir, "a", 0), testClass(dir, "b", 0), testClass(dir, "c", 1<<30)
	if err := shareDisk(&config{spoolDir: dir}, []*class{a, b, c}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	want := total / 10 * 9 / 3
	if a.spoolOptions.MaxBytes != want || b.spoolOptions.MaxBytes != want || c.spoolOptions.MaxBytes != 1<<30 {
		t.Errorf("quotas %d, %d, %d; want %d, the same, and 1 GiB", a.spoolOptions.MaxBytes, b.spoolOptions.MaxBytes, c.spoolOptions.MaxBytes, want)
	}
}

// TestShareDiskOwnVolume: a class whose directory is the mount point of a volume gets its quota from that volume, and takes
// no part of the others'.
func TestShareDiskOwnVolume(t *testing.T) {
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		t.Skip("mounting a file system needs Linux and root")
	}
	dir := t.TempDir()
	a, own := testClass(dir, "a", 0), testClass(dir, "own", 0)
	if err := os.Mkdir(own.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=64m", "none", own.dir).CombinedOutput(); err != nil {
		t.Skipf("cannot mount: %v %s", err, out)
	}
	t.Cleanup(func() { _ = exec.Command("umount", own.dir).Run() })
	if err := shareDisk(&config{spoolDir: dir}, []*class{a, own}, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	_, total, err := fileSystem(dir)
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(64 << 20 / 10 * 9); own.spoolOptions.MaxBytes != want || a.spoolOptions.MaxBytes != total/10*9 {
		t.Errorf("quotas: own volume %d, want %d; the other class %d, want %d", own.spoolOptions.MaxBytes, want, a.spoolOptions.MaxBytes, total/10*9)
	}
}
