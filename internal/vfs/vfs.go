// Package vfs is the file system the spool runs on: the operating system's, or one in memory that can be cloned as after
// a power cut and made to fail at any operation.
package vfs

import (
	"io"
	"io/fs"
)

// FS is a file system. Paths are as in package os. Only the operations that the spool needs exist, so that each one can
// be made to fail.
type FS interface {
	// Create makes a new file for reading and writing; fs.ErrExist if it is there.
	Create(path string) (File, error)
	// OpenRW opens an existing file for reading and writing.
	OpenRW(path string) (File, error)
	// Open opens an existing file for reading.
	Open(path string) (File, error)
	// Rename replaces newpath.
	Rename(oldpath, newpath string) error
	Remove(path string) error
	// MkdirAll creates directories and syncs the parents of those it created.
	MkdirAll(path string) error
	ReadDir(path string) ([]fs.DirEntry, error)
	Stat(path string) (fs.FileInfo, error)
	// SyncDir makes creations, renames and removals in a directory durable.
	SyncDir(path string) error
	// Space returns the size of the file system and what an unprivileged process may still write, in bytes.
	Space(path string) (total, free int64, err error)
	// Lock takes an exclusive lock on a file, created if need be, and writes holder into it. ErrLocked (a *LockedError
	// with the holder's text) if another process or another Lock of this process has it.
	Lock(path, holder string) (io.Closer, error)
}

// File is an open file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	// Sync makes contents and size durable (fdatasync on Linux).
	Sync() error
	Truncate(size int64) error
	// Allocate reserves blocks up to size, without changing what is read below the present size; best effort.
	Allocate(size int64) error
	Size() (int64, error)
}
