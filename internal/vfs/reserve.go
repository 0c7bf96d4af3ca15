package vfs

import (
	"errors"
	"io/fs"
	"strconv"
	"sync"
)

// Reserve is a number of empty files, PREFIX1, PREFIX2 and so on: inodes for the moment when a file system has no others,
// although it has free blocks. To give up an inode, one of the files is removed. All methods may be called from any
// goroutine.
type Reserve struct {
	fsys   FS
	prefix string

	mu   sync.Mutex
	have []bool // each of the files, while it is there
}

// NewReserve returns a Reserve of n files. None is made yet.
func NewReserve(fsys FS, prefix string, n int) *Reserve {
	return &Reserve{fsys: fsys, prefix: prefix, have: make([]bool, n)}
}

func (r *Reserve) path(i int) string { return r.prefix + strconv.Itoa(i+1) }

// Fill makes the files that are missing, as far as the file system lets it, and returns why it is not complete.
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

// Give sets an inode free if that may be what err is about; false if it is not, or if there is none left.
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
