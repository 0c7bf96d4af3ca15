//go:build linux || darwin

package vfs

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestLinksAreNotFollowed: a volume from elsewhere may have links in the places of files. Nothing is read, created, locked or
// written through them, and no file that has another name elsewhere is written.
func TestLinksAreNotFollowed(t *testing.T) {
	dir := t.TempDir()
	outside := filepath.Join(t.TempDir(), "precious")
	must(t, os.WriteFile(outside, []byte("precious"), 0o600))
	soft, dangling, hard := filepath.Join(dir, "soft"), filepath.Join(dir, "dangling"), filepath.Join(dir, "hard")
	must(t, os.Symlink(outside, soft))
	must(t, os.Symlink(filepath.Join(filepath.Dir(outside), "new"), dangling))
	must(t, os.Link(outside, hard))
	for _, path := range []string{soft, dangling, hard} {
		for name, open := range map[string]func() (io.Closer, error){
			"Create": func() (io.Closer, error) { return OS().Create(path) },
			"OpenRW": func() (io.Closer, error) { return OS().OpenRW(path) },
			"Lock":   func() (io.Closer, error) { return OS().Lock(path, "holder") },
			"Open":   func() (io.Closer, error) { return OS().Open(path) },
		} {
			if name == "Open" && path == hard {
				continue // reading does it no harm
			}
			f, err := open()
			if err == nil {
				t.Errorf("%s of %s succeeded", name, filepath.Base(path))
				must(t, f.Close())
				continue
			}
			if name == "OpenRW" && path != hard && (!errors.Is(err, ErrLink) || !strings.Contains(err.Error(), "symbolic link")) ||
				name != "Create" && path == hard && (!errors.Is(err, ErrLink) || !strings.Contains(err.Error(), "mv ")) {
				t.Errorf("%s of %s: %v", name, filepath.Base(path), err)
			}
		}
	}
	must(t, WriteFileAtomic(OS(), soft, []byte("ours"))) // a rename replaces the link itself
	if b, err := os.ReadFile(outside); err != nil || string(b) != "precious" {
		t.Errorf("outside is %q, %v", b, err)
	}
	if _, err := os.Lstat(filepath.Join(filepath.Dir(outside), "new")); err == nil {
		t.Error("a file was created through a link")
	}
}
