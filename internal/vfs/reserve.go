package vfs

import (
	"errors"
	"io/fs"
	"strconv"
	"sync"
)

// Reserve is a number of empty files, PREFIX1, PREFIX2 and so on. They reserve inodes for the moment when a file system has no
// other free inodes, although it has free blocks. Removing one of the files frees an inode. All methods may be called from any
// goroutine.
type Reserve struct {
	fsys   FS
	prefix string

	mu   sync.Mutex
	have []bool // whether each of the files exists
}

// NewReserve returns a Reserve of n files. It creates none yet.
func NewReserve(fsys FS, prefix string, n int) *Reserve {
	return &Reserve{fsys: fsys, prefix: prefix, have: make([]bool, n)}
}

func (r *Reserve) path(i int) string { return r.prefix + strconv.Itoa(i+1) }

// Fill creates the missing files, as far as the file system allows, and returns why the Reserve is incomplete.
func (r *Reserve) Fill() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, there := range r.have {
		if there {
			continue
		}
		f, err := r.fsys.Create(r.path(i))
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err == nil {
			_ = f.Close()
		}
		r.have[i] = true
	}
	return nil
}

// Give frees an inode if a lack of inodes may be the cause of err. It returns false if it cannot be, or if the Reserve is
// empty.
func (r *Reserve) Give(err error) bool {
	if !IsNoSpace(err) {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, there := range r.have {
		if there {
			r.have[i] = false
			return r.fsys.Remove(r.path(i)) == nil
		}
	}
	return false
}
