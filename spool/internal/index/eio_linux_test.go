package index

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/penstock-go/penstock/internal/vfs"
)

// brokenDisk returns a directory on a file system of its own, and a function that makes the disk below it return EIO for
// everything but its first 24 MiB, which the file system's own records need.
func brokenDisk(t *testing.T) (dir string, breakIt func()) {
	t.Helper()
	if os.Getenv("PENSTOCK_TEST_MOUNT") == "" || os.Geteuid() != 0 {
		t.Skip("mounts a file system: wants root and PENSTOCK_TEST_MOUNT=1")
	}
	run := func(name string, args ...string) {
		t.Helper()
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 64<<20)); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-F", "-O", "^has_journal", image)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { run("umount", "-l", dir) })
	// What is made from here on lies behind this.
	if err := os.WriteFile(filepath.Join(dir, "filler"), make([]byte, 30<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir, func() {
		unix.Sync()
		f, err := os.Open(filepath.Join(dir, FileName))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if err := unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(image, 24<<20); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk that returns EIO while the index is open, and when it is opened: the spool loses its index and nothing else.
func TestIndexOnBrokenDisk(t *testing.T) {
	dir, breakIt := brokenDisk(t)
	open := opener(func() (Index, bool, error) { return openBolt(vfs.OS(), dir, discard) })
	ix, _ := mustOpen(t, open)
	var puts []Entry
	for i := range 20_000 {
		puts = append(puts, Entry{fmt.Sprintf("%05d", i), []byte(strings.Repeat("v", 200))})
	}
	mustApply(t, ix, puts)
	mustClose(t, ix)
	ix, rebuild := mustOpen(t, open)
	if rebuild {
		t.Fatal("the index is not whole to begin with")
	}
	breakIt()
	err := ix.Load(func(string, []byte) error { return nil })
	if _, ok := errors.AsType[*fault](err); !ok || !errors.Is(err, ErrLost) {
		t.Fatalf("Load from a broken disk: %v", err)
	}
	if err := os.Remove(filepath.Join(dir, MarkName)); err != nil {
		t.Fatal(err)
	}
	// Without the mark, the check is what keeps bbolt away from the file.
	ix, rebuild = mustOpen(t, open)
	if !rebuild {
		t.Error("an unreadable index is believed")
	}
	mustApply(t, ix, puts[:1])
	wantEntries(t, ix, map[string]string{puts[0].Key: string(puts[0].Value)})
}
