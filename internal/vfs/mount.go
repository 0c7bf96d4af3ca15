package vfs

import (
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"sync"
	"sync/atomic"
)

// mounts contains the file systems of Mount by directory; nil except in tests.
var (
	mounts    atomic.Pointer[map[string]FS]
	mountLock sync.Mutex // held while mounts are changed
)

// Mount shows fsys at dir in every file system that OS returns afterwards, until unmount is called: a path below dir is a path
// below the root of fsys. It is for tests that run whole processes in memory through packages that take no FS. A mount must not
// be inside another one, and files cannot be renamed between mounts.
func Mount(dir string, fsys FS) (unmount func()) {
	dir = filepath.Clean(dir)
	change := func(f func(map[string]FS)) {
		mountLock.Lock()
		defer mountLock.Unlock()
		next := map[string]FS{}
		if m := mounts.Load(); m != nil {
			maps.Copy(next, *m)
		}
		if f(next); len(next) == 0 {
			mounts.Store(nil)
			return
		}
		mounts.Store(&next)
	}
	change(func(m map[string]FS) { m[dir] = fsys })
	return func() { change(func(m map[string]FS) { delete(m, dir) }) }
}

// Mounted reports whether a path is in a file system of Mount, where nothing but this package can reach it.
func Mounted(path string) bool {
	fsys, _ := mounted(path)
	return fsys != nil
}

// mounted returns the file system that is mounted above path, and the path within it; nil if there is none.
func mounted(path string) (fsys FS, rest string) {
	m := mounts.Load()
	if m == nil {
		return nil, ""
	}
	path = filepath.Clean(path)
	for dir := path; ; {
		if fsys := (*m)[dir]; fsys != nil {
			return fsys, filepath.Join(string(filepath.Separator), path[len(dir):])
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return nil, ""
		}
		dir = parent
	}
}

// mountFS looks up the file system of each path. After an unmount the path belongs to the operating system again, where it does
// not exist.
type mountFS struct{}

var _ FS = mountFS{}

// at calls f with the file system of a path and the path within it.
func at[T any](path string, f func(FS, string) (T, error)) (T, error) {
	if fsys, rest := mounted(path); fsys != nil {
		return f(fsys, rest)
	}
	return f(osFS{}, path)
}

// only is at for functions that return only an error.
func only(path string, f func(FS, string) error) error {
	_, err := at(path, func(fsys FS, path string) (struct{}, error) { return struct{}{}, f(fsys, path) })
	return err
}

func (mountFS) Create(path string) (File, error)           { return at(path, FS.Create) }
func (mountFS) OpenRW(path string) (File, error)           { return at(path, FS.OpenRW) }
func (mountFS) Open(path string) (File, error)             { return at(path, FS.Open) }
func (mountFS) Remove(path string) error                   { return only(path, FS.Remove) }
func (mountFS) MkdirAll(path string) error                 { return only(path, FS.MkdirAll) }
func (mountFS) ReadDir(path string) ([]fs.DirEntry, error) { return at(path, FS.ReadDir) }
func (mountFS) Stat(path string) (fs.FileInfo, error)      { return at(path, FS.Stat) }
func (mountFS) SyncDir(path string) error                  { return only(path, FS.SyncDir) }

func (mountFS) Rename(oldpath, newpath string) error {
	return only(oldpath, func(fsys FS, oldpath string) error {
		if _, rest := mounted(newpath); rest != "" {
			newpath = rest
		}
		return fsys.Rename(oldpath, newpath)
	})
}

func (mountFS) Space(path string) (total, free int64, err error) {
	total, err = at(path, func(fsys FS, path string) (total int64, err error) {
		total, free, err = fsys.Space(path)
		return total, err
	})
	return total, free, err
}

// Volume implements Placer.
func (mountFS) Volume(dir string) *Volume {
	v, _ := at(dir, func(fsys FS, dir string) (*Volume, error) { return VolumeOf(fsys, dir), nil })
	return v
}

func (mountFS) Lock(path, holder string) (io.Closer, error) {
	return at(path, func(fsys FS, path string) (io.Closer, error) { return fsys.Lock(path, holder) })
}
