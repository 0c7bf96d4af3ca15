package testserver

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// SmallDisk returns a directory on a separate ext4 file system of the given size in bytes. mkfs.ext4 makes it with the given
// options. The test needs root, and is skipped unless PENSTOCK_TEST_MOUNT is set, since not every machine allows mounts in
// tests.
func SmallDisk(t testing.TB, size int64, options ...string) string {
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
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, size)); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", append(append([]string{"-q", "-F"}, options...), image)...)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { run("umount", dir) })
	return dir
}
