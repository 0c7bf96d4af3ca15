package vfs

import (
	"errors"
	"io/fs"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// openNonblock is zero: on Windows no name in a directory can make an open wait.
const openNonblock = 0

// openNoFollow is zero: only administrators and developers can make symbolic links.
const openNoFollow = 0

func notFollowed(_ string, err error) error { return err }

func hasOtherNames(fs.FileInfo) bool { return false }

// newDataSync returns os.File.Sync, which calls FlushFileBuffers: it syncs data and size.
func newDataSync(f *os.File) func() error { return f.Sync }

// allocate does nothing: a larger allocation size lasts only while the file is open.
func allocate(*os.File, int64) error { return nil }

// syncDir does nothing: Windows cannot sync a directory; NTFS journals names in order.
func syncDir(path string) error {
	_, err := os.Stat(path)
	return err
}

func space(path string) (total, free int64, err error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	var avail, all, unused uint64
	err = windows.GetDiskFreeSpaceEx(p, &avail, &all, &unused)
	return int64(min(all, math.MaxInt64)), int64(min(avail, math.MaxInt64)), err
}

// lockAt is a byte far after the text: LockFileEx keeps other processes from reading the bytes that it locks.
var lockAt = windows.Overlapped{OffsetHigh: 1 << 30}

// tryLock uses LockFileEx, whose lock belongs to the handle: a second Lock in this process is refused too.
func tryLock(f *os.File) error {
	at := lockAt
	err := windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}

// lockDir does nothing: an open file cannot be replaced.
func lockDir(string) (*os.File, error) { return nil, nil }

func unlock(f *os.File) error {
	at := lockAt
	return windows.UnlockFileEx(windows.Handle(f.Fd()), 0, 1, 0, &at)
}

// IsNoSpace reports whether err means that the disk, or the quota on it, is full.
func IsNoSpace(err error) bool {
	return errors.Is(err, windows.ERROR_DISK_FULL) || errors.Is(err, windows.ERROR_HANDLE_DISK_FULL) ||
		errors.Is(err, windows.ERROR_DISK_QUOTA_EXCEEDED) || errors.Is(err, syscall.ENOSPC)
}

// isRefusal returns false: only on Linux do containers and file systems refuse system calls.
func isRefusal(error) bool { return false }
