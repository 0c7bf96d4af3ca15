package index

import (
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

const (
	// MarkName is there while an index is being opened, and from the moment the spool goes on without one: the file beside
	// it is not to be believed. So a file that takes the process down does it once, and not at each of the restarts that
	// follow, and one that fell behind the segments is not taken for the truth.
	MarkName = "index.opening"
	// badIndex precedes the time at which a file was set aside. One is kept, for people to look at.
	badIndex = FileName + ".bad-"
)

// setMark makes the mark durable. It is empty: that it is there says everything, and on a full disk there is room for it.
func setMark(fsys vfs.FS, dir string) error {
	f, err := fsys.Create(filepath.Join(dir, MarkName))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return fsys.SyncDir(dir)
}

// clearMark also makes the name of a new index file durable.
func clearMark(fsys vfs.FS, dir string) error {
	err := fsys.Remove(filepath.Join(dir, MarkName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return fsys.SyncDir(dir)
}

// setAside renames the index's file, and removes the one that was set aside before it.
func setAside(fsys vfs.FS, dir string, now time.Time) error {
	bad := badIndex + now.UTC().Format("20060102T150405Z")
	if err := fsys.Rename(filepath.Join(dir, FileName), filepath.Join(dir, bad)); err != nil {
		return err
	}
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), badIndex) && e.Name() != bad {
			if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return fsys.SyncDir(dir)
}
