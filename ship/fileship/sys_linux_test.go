package fileship

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A sandbox or file system that refuses both link(2) and renameat2(2) does not prevent a Put, with whatever error it answers.
func TestRenameat2Refused(t *testing.T) {
	noLinks(t)
	old := renameat2
	t.Cleanup(func() { renameat2 = old })
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP} {
		renameat2 = func(int, string, int, string, uint) error { return errno }
		dir := t.TempDir()
		r, err := put(open(t, dir, nil), "k", []byte("x"))
		if err != nil || !slices.Contains(r.Degraded, "no-hardlink") || !slices.Contains(r.Degraded, "no-exclusive-rename") {
			t.Errorf("%v: %+v, %v", errno, r, err)
		}
		if b, err := os.ReadFile(filepath.Join(dir, "k")); err != nil || string(b) != "x" {
			t.Errorf("%v: %q, %v", errno, b, err)
		}
		temp, path := filepath.Join(dir, "other"), filepath.Join(dir, "k")
		if err := os.WriteFile(temp, []byte("y"), 0o600); err != nil {
			t.Fatal(err)
		}
		if exclusive, err := renameNoReplace(temp, path); exclusive || !errors.Is(err, fs.ErrExist) {
			t.Errorf("%v, over an existing file: %v, %v", errno, exclusive, err)
		}
	}
}
