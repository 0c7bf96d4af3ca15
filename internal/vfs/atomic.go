package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
)

// TempSuffix is the suffix of files that WriteFileAtomic has not finished. A process that is killed leaves them behind: see
// RemoveTemp.
const TempSuffix = ".tmp"

// tempCount makes names that are unique in this process. Random names would also do, but a sweep that runs the same workload
// twice must see the same names.
var tempCount atomic.Uint64

// WriteFileAtomic durably replaces the contents of path by data. If it returns nil, data survives a power cut; after an error
// path has its old contents or the new ones, never a mixture. The steps are temporary file, write, sync, rename, sync of the
// directory. With the rename alone, some file systems could show an empty file after a power cut.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	f, temp, err := createTemp(fsys, path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync() // before the rename: the new name must never show incomplete contents
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(temp, path)
	}
	if err != nil {
		_ = fsys.Remove(temp) // RemoveTemp removes a leftover
		return err
	}
	// Without this sync, a power cut could still bring back the old contents. If it fails, either contents may be seen.
	return fsys.SyncDir(filepath.Dir(path))
}

// createTemp creates an empty file next to path. Names count up in this process, and skip files that an earlier process left
// behind.
func createTemp(fsys FS, path string) (f File, temp string, err error) {
	for range 10_000 { // existing names are those left by killed processes; RemoveTemp keeps them few
		temp = path + "." + strconv.FormatUint(tempCount.Add(1), 10) + TempSuffix
		f, err = fsys.Create(temp)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, temp, err
}

// RemoveTemp removes the files that WriteFileAtomic left in dir when its process died. The caller must hold the directory's
// lock. It is no error if a file is removed concurrently.
func RemoveTemp(fsys FS, dir string) error {
	entries, err := fsys.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() || !strings.HasSuffix(e.Name(), TempSuffix) {
			continue
		}
		if err := fsys.Remove(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// ErrTooLarge means that a file is larger than a file of its purpose can be.
var ErrTooLarge = errors.New("vfs: file too large")

// ReadFile returns the contents of a file of at most limit bytes. For a larger one it returns ErrTooLarge instead of part of
// it.
func ReadFile(fsys FS, path string, limit int64) ([]byte, error) {
	f, err := fsys.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return nil, err
	}
	if size > limit {
		return nil, fmt.Errorf("%w: %s has %d bytes, at most %d are expected", ErrTooLarge, path, size, limit)
	}
	data := make([]byte, size) // the size was checked first: a wrong size must not allocate all memory
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, err
	}
	return data, nil
}
