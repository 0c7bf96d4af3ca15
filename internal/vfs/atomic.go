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

// TempSuffix ends the name of every file that WriteFileAtomic has not finished. A process that died leaves them behind:
// see RemoveTemp.
const TempSuffix = ".tmp"

// tempCount makes names that are new in this process. Random ones would do as well, but a sweep that runs the same
// workload twice must see the same names.
var tempCount atomic.Uint64

// WriteFileAtomic makes data the whole contents of path, durably: after nil it survives a power cut, after an error path
// has its old contents or the new ones, never a mixture. Temporary file, write, sync, rename, sync of the directory: the
// rename alone would let some file systems show an empty file after a power cut.
func WriteFileAtomic(fsys FS, path string, data []byte) error {
	f, temp, err := createTemp(fsys, path)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Sync() // before the rename: the new name must never show less than everything
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = fsys.Rename(temp, path)
	}
	if err != nil {
		_ = fsys.Remove(temp) // a leftover is swept by RemoveTemp
		return err
	}
	// Only now would a power cut not bring the old contents back. If it fails, which of the two will be seen is open.
	return fsys.SyncDir(filepath.Dir(path))
}

// createTemp makes an empty file beside path. Names count up in this process, and step over what an earlier one left.
func createTemp(fsys FS, path string) (f File, temp string, err error) {
	for range 10_000 { // names left behind by processes that died; RemoveTemp keeps them few
		temp = path + "." + strconv.FormatUint(tempCount.Add(1), 10) + TempSuffix
		f, err = fsys.Create(temp)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return f, temp, err
}

// RemoveTemp removes what WriteFileAtomic left in dir when its process died. Only whoever holds the directory's lock may
// call it. Names that somebody else removes meanwhile are no error.
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

// ErrTooLarge says that a file is longer than it can be if it is what it should be.
var ErrTooLarge = errors.New("vfs: file too large")

// ReadFile returns the contents of a file that has at most limit bytes; a longer one is ErrTooLarge, not cut.
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
	data := make([]byte, size) // the size was checked first: a damaged one must not ask for the whole memory
	if n, err := f.ReadAt(data, 0); n < len(data) {
		return nil, err
	}
	return data, nil
}
