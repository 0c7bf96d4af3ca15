package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
)

// Kind is a kind of operation.
type Kind uint8

// The kinds of operations. The kinds up to OpLock change something.
const (
	OpCreate Kind = iota
	OpRename
	OpRemove
	OpMkdirAll
	OpSyncDir
	OpWrite
	OpSync
	OpTruncate
	OpAllocate
	OpLock
	OpOpen // Open and OpenRW
	OpRead
	OpReadDir
	OpStat // Stat, Size and Space
)

var kindNames = [...]string{
	"create", "rename", "remove", "mkdir", "syncdir", "write", "sync", "truncate", "fallocate", "lock", "open", "read", "readdir", "stat",
}

// String returns the name of the kind, which is part of the errors of injected faults.
func (k Kind) String() string { return kindNames[k] }

// Mutates reports whether operations of this kind change something, or make a change durable.
func (k Kind) Mutates() bool { return k <= OpLock }

// Op is an operation that is about to be performed.
type Op struct {
	Kind Kind
	Path string // of a Rename: the old path
	N    int    // counts the operations that change something, from 1; any other operation has the number of the last one
	// Off and Len are the byte range of a read or a write, because disks fail sector by sector.
	Off int64
	Len int
}

// Hook is called before each operation, by one goroutine at a time. If it returns nil, the operation is performed. Otherwise
// the operation returns this error and is not performed, except as far as a *Fault says. A Sync that fails drops the dirty
// pages of a Mem, as on Linux.
type Hook func(Op) error

// Fault is an error that a Hook returns for an operation that is performed wholly or in part.
type Fault struct {
	Err   error
	Bytes int  // the number of bytes that a write writes
	Done  bool // the operation is performed; only its result is wrong
}

// Error returns the text of Err.
func (f *Fault) Error() string { return f.Err.Error() }

// Unwrap returns Err.
func (f *Fault) Unwrap() error { return f.Err }

// FailAt fails the n-th operation that changes something with err.
func FailAt(n int, err error) Hook {
	return func(op Op) error {
		if op.N == n && op.Kind.Mutates() {
			return err
		}
		return nil
	}
}

// FailFrom fails every operation that changes something, from the n-th on, with err until clear is called: it simulates a disk
// that fails and is repaired.
func FailFrom(n int, err error) (hook Hook, clear func()) {
	var mu sync.Mutex
	hook = func(op Op) error {
		mu.Lock()
		defer mu.Unlock()
		if op.N >= n && op.Kind.Mutates() {
			return err
		}
		return nil
	}
	return hook, func() {
		mu.Lock()
		defer mu.Unlock()
		err = nil
	}
}

// Inject returns fsys with hook called before each operation, including the operations of files opened through it.
func Inject(fsys FS, hook Hook) FS { return &injectFS{fsys: fsys, hook: hook} }

type injectFS struct {
	fsys FS
	hook Hook

	mu sync.Mutex // one hook at a time, so that numbers are in order; the operations themselves run concurrently
	n  int
}

// do calls the hook, and runs op unless the hook returns an error.
func (i *injectFS) do(kind Kind, path string, op func() error) error {
	return i.try(Op{Kind: kind, Path: path}, op)
}

// try is do for an operation with more details.
func (i *injectFS) try(what Op, op func() error) error {
	err := i.ask(what)
	if err == nil {
		return op()
	}
	if f, ok := errors.AsType[*Fault](err); ok {
		err = f.Err
		if f.Done { // a real error is more informative than the injected one
			if operr := op(); operr != nil {
				err = operr
			}
		}
	}
	return &fs.PathError{Op: what.Kind.String(), Path: what.Path, Err: err}
}

// ask numbers the operation and calls the hook.
func (i *injectFS) ask(what Op) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if what.Kind.Mutates() {
		i.n++
	}
	what.N = i.n
	return i.hook(what)
}

// file opens a file whose operations also call the hook.
func (i *injectFS) file(kind Kind, path string, open func(string) (File, error)) (File, error) {
	var f File
	err := i.do(kind, path, func() (err error) {
		f, err = open(path)
		return err
	})
	if err != nil {
		if f != nil { // opened, but reported as failed
			_ = f.Close()
		}
		return nil, err
	}
	return &injectFile{File: f, i: i, path: path}, nil
}

func (i *injectFS) Create(path string) (File, error) { return i.file(OpCreate, path, i.fsys.Create) }
func (i *injectFS) OpenRW(path string) (File, error) { return i.file(OpOpen, path, i.fsys.OpenRW) }
func (i *injectFS) Open(path string) (File, error)   { return i.file(OpOpen, path, i.fsys.Open) }

func (i *injectFS) Rename(oldpath, newpath string) error {
	return i.do(OpRename, oldpath, func() error { return i.fsys.Rename(oldpath, newpath) })
}

func (i *injectFS) Remove(path string) error {
	return i.do(OpRemove, path, func() error { return i.fsys.Remove(path) })
}

func (i *injectFS) MkdirAll(path string) error {
	return i.do(OpMkdirAll, path, func() error { return i.fsys.MkdirAll(path) })
}

func (i *injectFS) SyncDir(path string) error {
	return i.do(OpSyncDir, path, func() error { return i.fsys.SyncDir(path) })
}

func (i *injectFS) ReadDir(path string) (entries []fs.DirEntry, err error) {
	err = i.do(OpReadDir, path, func() (err error) {
		entries, err = i.fsys.ReadDir(path)
		return err
	})
	return entries, err
}

func (i *injectFS) Stat(path string) (info fs.FileInfo, err error) {
	err = i.do(OpStat, path, func() (err error) {
		info, err = i.fsys.Stat(path)
		return err
	})
	return info, err
}

func (i *injectFS) Space(path string) (total, free int64, err error) {
	err = i.do(OpStat, path, func() (err error) {
		total, free, err = i.fsys.Space(path)
		return err
	})
	return total, free, err
}

// Volume implements Placer.
func (i *injectFS) Volume(dir string) *Volume { return VolumeOf(i.fsys, dir) }

func (i *injectFS) Lock(path, holder string) (l io.Closer, err error) {
	err = i.do(OpLock, path, func() (err error) {
		l, err = i.fsys.Lock(path, holder)
		return err
	})
	if err != nil && l != nil {
		return nil, fmt.Errorf("%w (%v)", err, l.Close())
	}
	return l, err
}
