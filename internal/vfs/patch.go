package vfs

import (
	"io"
	"io/fs"
	"sync"
)

// patch contains a Preview's changes of a file in the tree below: whole pages, so that writing a footer to a file of one GiB
// costs one page.
//
// The invariant: each byte of the file is taken from its page, if that is in the patch; otherwise from the file below, if it is
// before kept; otherwise it is zero. No page begins at or after size.
type patch struct {
	mu    sync.Mutex
	size  int64
	kept  int64 // the file below is not used from here on
	pages map[int64]*page
}

// patched is a file of the tree below with its patch.
type patched struct {
	File
	p *patch
}

// patchOf returns the patch of a file of the tree below; nil if nothing was written to it.
func (o *overlay) patchOf(low string) *patch {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.patches[low]
}

func newPatch(size int64) *patch { return &patch{size: size, kept: size, pages: map[int64]*page{}} }

// openPatched opens a file of the tree below for writing in a Preview.
func (o *overlay) openPatched(path, low string) (File, error) {
	f, err := o.low.Open(low)
	if err != nil {
		return nil, err
	}
	if p := o.patchOf(low); p != nil {
		return patched{f, p}, nil
	}
	fi, err := o.low.Stat(low)
	if err == nil && hasOtherNames(fi) { // as the operating system's OpenRW does
		err = &fs.PathError{Op: "open", Path: path, Err: errNames}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.patches[low] == nil {
		o.patches[low] = newPatch(fi.Size())
	}
	return patched{f, o.patches[low]}, nil
}

// sizedInfo is the FileInfo of a file whose size a patch has changed.
type sizedInfo struct {
	fs.FileInfo
	size int64
}

func (i sizedInfo) Size() int64 { return i.size }

// stat returns the FileInfo that a Preview shows for a file of the tree below.
func (o *overlay) stat(low string) (fs.FileInfo, error) {
	fi, err := o.low.Stat(low)
	if p := o.patchOf(low); err == nil && p != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		return sizedInfo{fi, p.size}, nil
	}
	return fi, err
}

// openLow opens a file of the tree below for reading.
func (o *overlay) openLow(low string) (File, error) {
	f, err := o.low.Open(low)
	if p := o.patchOf(low); err == nil && p != nil {
		return patched{f, p}, nil
	}
	return f, err
}

// ReadAt implements io.ReaderAt.
func (f patched) ReadAt(b []byte, off int64) (n int, err error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	for n < len(b) && off+int64(n) < f.p.size {
		at := off + int64(n)
		k := int(min(pageSize-at%pageSize, f.p.size-at, int64(len(b)-n)))
		if err := f.read(b[n:n+k], at); err != nil {
			return n, err
		}
		n += k
	}
	if n < len(b) {
		return n, io.EOF
	}
	return n, nil
}

// read reads bytes that are within one page, and before the end of the file.
func (f patched) read(b []byte, at int64) error {
	if p := f.p.pages[at/pageSize]; p != nil {
		copy(b, p[at%pageSize:])
		return nil
	}
	k := max(0, min(int64(len(b)), f.p.kept-at))
	clear(b[k:])
	if k == 0 {
		return nil
	}
	if n, err := f.File.ReadAt(b[:k], at); int64(n) < k {
		return err
	}
	return nil
}

// WriteAt implements io.WriterAt.
func (f patched) WriteAt(b []byte, off int64) (n int, err error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	for n < len(b) {
		at := off + int64(n)
		k := int(min(pageSize-at%pageSize, int64(len(b)-n)))
		p := new(page)
		if k < pageSize {
			from := at - at%pageSize
			if have := min(pageSize, f.p.size-from); have > 0 {
				if err := f.read(p[:have], from); err != nil {
					return n, err
				}
			}
		}
		copy(p[at%pageSize:], b[n:n+k])
		if *p == zeroPage {
			p = &zeroPage
		}
		f.p.pages[at/pageSize] = p
		n += k
		f.p.size = max(f.p.size, at+int64(k))
	}
	return n, nil
}

// Truncate implements File.
func (f patched) Truncate(size int64) error {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	if size < f.p.size {
		if from := size - size%pageSize; f.p.pages[from/pageSize] != nil {
			p := *f.p.pages[from/pageSize]
			clear(p[size-from:])
			f.p.pages[from/pageSize] = &p
		}
		for i := range f.p.pages {
			if i*pageSize >= size {
				delete(f.p.pages, i)
			}
		}
		f.p.kept = min(f.p.kept, size)
	}
	f.p.size = size
	return nil
}

// Size implements File.
func (f patched) Size() (int64, error) {
	f.p.mu.Lock()
	defer f.p.mu.Unlock()
	return f.p.size, nil
}

// Sync and Allocate have nothing to do in memory.
func (patched) Sync() error          { return nil }
func (patched) Allocate(int64) error { return nil }
