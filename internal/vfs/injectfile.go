package vfs

import (
	"errors"
	"io/fs"
)

// injectFile calls the hook before each operation except Close: a spool closes files that it has synced, and ignores the error.
type injectFile struct {
	File
	i    *injectFS
	path string
}

func (f *injectFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.i.try(Op{Kind: OpRead, Path: f.path, Off: off, Len: len(p)}, func() (err error) {
		n, err = f.File.ReadAt(p, off)
		return err
	})
	return n, err
}

// WriteAt is the only operation that can be performed in part: a full disk accepts what fits, and a signal interrupts a write.
func (f *injectFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.i.ask(Op{Kind: OpWrite, Path: f.path, Off: off, Len: len(p)})
	if err == nil {
		return f.File.WriteAt(p, off)
	}
	var n int
	if fault, ok := errors.AsType[*Fault](err); ok {
		err, n = fault.Err, min(fault.Bytes, len(p))
		if fault.Done {
			n = len(p)
		}
		if n > 0 {
			var werr error
			if n, werr = f.File.WriteAt(p[:n], off); werr != nil {
				err = werr
			}
		}
	}
	return n, &fs.PathError{Op: OpWrite.String(), Path: f.path, Err: err}
}

// Sync fails as on Linux: data that could not be written is dropped, not kept for the next Sync.
func (f *injectFile) Sync() error {
	synced := false
	err := f.i.do(OpSync, f.path, func() error {
		synced = true
		return f.File.Sync()
	})
	if !synced {
		f.failSync()
	}
	return err
}

// failSync passes the failure through wrappers to the Mem that has the pages.
func (f *injectFile) failSync() {
	if m, ok := f.File.(interface{ failSync() }); ok {
		m.failSync()
	}
}

func (f *injectFile) Truncate(size int64) error {
	return f.i.do(OpTruncate, f.path, func() error { return f.File.Truncate(size) })
}

func (f *injectFile) Allocate(size int64) error {
	return f.i.do(OpAllocate, f.path, func() error { return f.File.Allocate(size) })
}

func (f *injectFile) Size() (size int64, err error) {
	err = f.i.do(OpStat, f.path, func() (err error) {
		size, err = f.File.Size()
		return err
	})
	return size, err
}
