package vfs

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// newDataSync returns os.File.Sync: F_FULLFSYNC, since fsync(2) on macOS leaves the data in the drive's cache.
func newDataSync(f *os.File) func() error { return f.Sync }

// allocate does nothing: F_PREALLOCATE reserves space only after the end of the file, and the next truncate releases it.
func allocate(*os.File, int64) error { return nil }

func space(path string) (total, free int64, err error) {
	var s unix.Statfs_t
	err = unix.Statfs(path, &s)
	return int64(s.Blocks) * int64(s.Bsize), int64(s.Bavail) * int64(s.Bsize), err
}

// IsNoSpace reports whether err means that the disk, or the quota on it, is full.
func IsNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }

// isRefusal returns false: only on Linux do containers and file systems refuse system calls.
func isRefusal(error) bool { return false }
