package spool

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// Change is what a repair does to one file.
type Change struct {
	// What is "create", "change" (written to in place), "replace", "remove" or "move".
	What string `json:"what"`
	// Path is relative to the spool's directory, and so is To, the new path of a moved file.
	Path string `json:"path"`
	To   string `json:"to,omitempty"`
	Size int64  `json:"size"` // of the file before, in bytes
	// Written: a file that is moved is also written to.
	Written bool   `json:"written,omitempty"`
	Why     string `json:"why"`
	// Routine: every start and end of a process does the same.
	Routine bool `json:"routine,omitempty"`
}

// changes is a file system that notes how the files of a directory differ before and after.
//
// The invariant: from has each path whose file is not the original one, with the file's original path, or isNew or isGone.
type changes struct {
	vfs.FS
	disk vfs.FS // below FS
	dir  string

	mu      sync.Mutex
	from    map[string]string
	was     map[string]fs.FileInfo // the original file of each changed path; nil: there was none
	written map[string]bool        // files that were written to in place, by their original paths
}

const (
	isNew  = "new"
	isGone = "gone"
)

func noteChanges(fsys, disk vfs.FS, dir string) *changes {
	return &changes{FS: fsys, disk: disk, dir: dir, from: map[string]string{}, was: map[string]fs.FileInfo{}, written: map[string]bool{}}
}

// touch notes the file under a path that is about to be changed.
func (c *changes) touch(path string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.was[path]; ok {
		return nil
	}
	fi, err := c.FS.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil {
		fi = nil
	}
	c.was[path] = fi
	return nil
}

// origin returns the original path of the file that is now under a path. c.mu is held.
func (c *changes) origin(path string) string {
	if from, ok := c.from[path]; ok {
		return from
	}
	return path
}

func (c *changes) set(path, from string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from[path] = from
}

// Create implements vfs.FS.
func (c *changes) Create(path string) (vfs.File, error) {
	if err := c.touch(path); err != nil {
		return nil, err
	}
	f, err := c.FS.Create(path)
	if err == nil {
		c.set(path, isNew)
	}
	return f, err
}

// OpenRW implements vfs.FS.
func (c *changes) OpenRW(path string) (vfs.File, error) {
	if err := c.touch(path); err != nil {
		return nil, err
	}
	f, err := c.FS.OpenRW(path)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return &changedFile{f, c, c.origin(path)}, nil
}

// Rename implements vfs.FS.
func (c *changes) Rename(oldpath, newpath string) error {
	if err := errors.Join(c.touch(oldpath), c.touch(newpath)); err != nil {
		return err
	}
	if err := c.FS.Rename(oldpath, newpath); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from[newpath] = c.origin(oldpath)
	c.from[oldpath] = isGone
	return nil
}

// Remove implements vfs.FS.
func (c *changes) Remove(path string) error {
	err := c.touch(path)
	if err == nil {
		err = c.FS.Remove(path)
	}
	if err == nil {
		c.set(path, isGone)
	}
	return err
}

// Space implements vfs.FS. It reports a very large disk, so that only the free space limits a repair, and not the quota.
func (c *changes) Space(path string) (total, free int64, err error) {
	_, free, err = c.disk.Space(path)
	return repairQuota, free, err
}

// Volume implements vfs.Placer.
func (c *changes) Volume(dir string) *vfs.Volume { return vfs.VolumeOf(c.disk, dir) }

// changedFile notes whether written bytes differ from the file's contents. Recovery writes many bytes again unchanged.
type changedFile struct {
	vfs.File
	c    *changes
	from string
}

func (f *changedFile) note() {
	f.c.mu.Lock()
	defer f.c.mu.Unlock()
	f.c.written[f.from] = true
}

// WriteAt implements io.WriterAt.
func (f *changedFile) WriteAt(p []byte, off int64) (int, error) {
	was := make([]byte, len(p))
	if n, err := f.File.ReadAt(was, off); n < len(p) || err != nil && err != io.EOF || string(was) != string(p) {
		f.note()
	}
	return f.File.WriteAt(p, off)
}

// Truncate implements vfs.File. Cutting off zeros is not noted, since recovery may append them again: list compares sizes.
func (f *changedFile) Truncate(size int64) error {
	if n, err := f.Size(); err != nil || size < n && !zerosFrom(f.File, size, n) {
		f.note()
	}
	return f.File.Truncate(size)
}

// zerosFrom reports whether a file holds nothing but zeros in [from, to).
func zerosFrom(f io.ReaderAt, from, to int64) bool {
	b := make([]byte, 1<<20)
	for ; from < to; from += int64(len(b)) {
		b = b[:min(int64(len(b)), to-from)]
		if n, err := f.ReadAt(b, from); n < len(b) || err != nil && err != io.EOF || !allZero(b) {
			return false
		}
	}
	return true
}

// list returns the changes, by path.
func (c *changes) list() (list []Change) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := map[string]string{} // the paths of moved files, by their original paths
	for path, from := range c.from {
		if from != isNew && from != isGone && from != path {
			now[from] = path
		}
	}
	for _, path := range slices.Sorted(maps.Keys(c.was)) {
		was := c.was[path]
		x := Change{Path: c.rel(path)}
		at, moved := now[path]
		switch from := c.origin(path); {
		case was == nil && from == isNew:
			x.What = "create"
		case was == nil:
			continue
		case moved:
			x.What, x.To, x.Written = "move", c.rel(at), c.written[path]
		case from == path && !c.written[path] && c.sameSize(path, was):
			continue
		case from == path:
			x.What = "change"
		case from == isGone:
			x.What = "remove"
		default:
			x.What = "replace"
		}
		if was != nil {
			x.Size = was.Size()
		}
		x.Why, x.Routine = reason(&x)
		list = append(list, x)
	}
	return list
}

func (c *changes) sameSize(path string, was fs.FileInfo) bool {
	fi, err := c.FS.Stat(path)
	return err == nil && fi.Size() == was.Size()
}

func (c *changes) rel(path string) string {
	if rel, err := filepath.Rel(c.dir, path); err == nil {
		return filepath.ToSlash(rel)
	}
	return path
}

// reason returns why recovery makes a change, and whether every start makes it. It only says what the file is for; the plan's
// findings say what is wrong.
func reason(x *Change) (why string, routine bool) {
	dir, name := filepath.ToSlash(filepath.Dir(x.Path)), filepath.Base(x.Path)
	switch {
	case strings.HasSuffix(name, vfs.TempSuffix) && x.What != "move":
		return "a process that died did not finish writing it", false
	case x.What == "move" && strings.HasPrefix(x.To, damagedDir+"/"):
		return "it cannot be used as what its name says", false
	case x.What == "move" && strings.HasPrefix(x.To, freeDir+"/"):
		return "it was prepared and never used", false
	case x.What == "move":
		return "its header has the number of the new name", false
	case dir == segDir && x.What == "create":
		return "an empty segment that states which records are missing", false
	case dir == segDir && x.What == "change":
		return "its torn tail is cut off, or it is sealed", false
	case dir == segDir:
		return "it is not needed: its records were written again to the next segment", false
	case dir == stageDir:
		return "it is staged again from its segment, or every destination has it", false
	case dir == chainDir:
		return "the state of a destination's chain", false
	case dir == damagedDir && x.What == "create":
		return "the note of a damage", false
	case dir == damagedDir:
		return "more is known of a damage, or it was given up", false
	case dir == freeDir:
		return "the reserve of files and inodes", true
	case name == identityName:
		return "the identity of the spool", false
	case name == cleanName || name == lifeName || name == begunName || name == ledgerName || name == lockName ||
		strings.HasPrefix(name, index.FileName) || name == index.MarkName:
		return "the state of the process that has the spool open", true
	}
	return "", false
}
