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
	// MarkName exists while an index is being opened, and once the spool continues without its index. It says that the index
	// file must not be trusted. So a file that makes the process crash does so once, and not at each restart, and a file that
	// is older than the segments is not used.
	MarkName = "index.opening"
	// badIndex begins the name of a file that was set aside; the time follows. One such file is kept for examination.
	badIndex = FileName + ".bad-"
)

// setMark makes the mark durable. The mark is an empty file, for which even a full disk has room.
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

// clearMark removes the mark, and makes the name of a new index file durable.
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
