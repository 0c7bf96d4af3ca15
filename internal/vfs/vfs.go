package vfs

import (
	"errors"
	"io"
	"io/fs"
)

// FS is a file system. Paths are as in package os, and so are errors: a *fs.PathError around fs.ErrNotExist,
// fs.ErrExist, syscall.EIO and so on. All methods may be called from any goroutine.
type FS interface {
	// Create makes a new file for reading and writing; fs.ErrExist if it exists. Its name is durable only after SyncDir of its
	// directory, even if the file is synced.
	Create(path string) (File, error)
	// OpenRW opens an existing file for reading and writing.
	OpenRW(path string) (File, error)
	// Open opens an existing file for reading.
	Open(path string) (File, error)
	// Rename replaces newpath. It is atomic for readers, and durable after SyncDir of both directories.
	Rename(oldpath, newpath string) error
	// Remove removes a file or an empty directory. Open files stay usable.
	Remove(path string) error
	// MkdirAll creates directories and syncs the parents of those it created.
	MkdirAll(path string) error
	// ReadDir lists a directory, sorted by name.
	ReadDir(path string) ([]fs.DirEntry, error)
	Stat(path string) (fs.FileInfo, error)
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(path string) error
	// Space returns the size of the file system and how much an unprivileged process may still write, in bytes. Both are 0 if
	// the file system does not tell, or the call is refused.
	Space(path string) (total, free int64, err error)
	// Lock takes an exclusive lock on a file, which it creates if necessary, and writes holder into it. It never waits: it
	// returns ErrLocked (a *LockedError with the holder's text) if another process or another Lock of this process has the
	// lock. The lock ends with Close or with the process; the file stays. With an empty holder Lock changes nothing: the file
	// keeps its text, and may be on a file system that is mounted read-only. If the file does not exist then, Lock locks its
	// directory instead, or returns fs.ErrNotExist on systems that cannot lock directories.
	Lock(path, holder string) (io.Closer, error)
}

// FileLimiter is implemented by file systems on which the size of this process's files may be limited.
type FileLimiter interface {
	// MaxFile returns the largest size in bytes, 0 if there is no limit.
	MaxFile() int64
}

// File is an open file. Reads and writes may be concurrent if they do not overlap.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes contents and size durable (fdatasync on Linux), not the name. After an error, nothing written since the last
	// successful Sync may be trusted, whatever later Syncs return: Linux drops the pages that it could not write
	// (https://lwn.net/Articles/752063/).
	Sync() error
	// Truncate sets the size. Added bytes read as zeroes.
	Truncate(size int64) error
	// Allocate reserves blocks up to size, so that writes below it cannot fail because the disk is full; the file's size and
	// contents stay. It returns ErrNotReserved if that is impossible, and nil on systems that have no such call.
	Allocate(size int64) error
	// Size returns the file's size in bytes.
	Size() (int64, error)
}

// ErrLocked means that another holder has a lock.
var ErrLocked = errors.New("vfs: locked")

// LockedError is an ErrLocked that names the holder.
type LockedError struct {
	Path   string
	Holder string // as given to Lock by the holder; empty if it cannot be read
}

// Error names the holder of the lock.
func (e *LockedError) Error() string {
	if e.Holder == "" {
		return "vfs: " + e.Path + " is locked by another process"
	}
	return "vfs: " + e.Path + " is locked by " + e.Holder
}

// Unwrap returns ErrLocked.
func (e *LockedError) Unwrap() error { return ErrLocked }

// ErrNotReserved is returned by Allocate if a sandbox, an old kernel or the file system refuses it. Files can be written
// without it, but a write may then fail because the disk is full.
var ErrNotReserved = errors.New("vfs: blocks cannot be reserved")
