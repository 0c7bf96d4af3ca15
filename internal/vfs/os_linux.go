package vfs

import (
	"errors"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// newDataSync prepares all that fdatasync(2) needs, so that a commit allocates nothing.
func newDataSync(f *os.File) func() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return func() error { return err }
	}
	var mu sync.Mutex
	var operr error
	op := func(fd uintptr) {
		for {
			if operr = unix.Fdatasync(int(fd)); operr != unix.EINTR {
				return
			}
		}
	}
	return func() error {
		mu.Lock()
		defer mu.Unlock()
		if conn.Control(op) != nil {
			return os.ErrClosed
		}
		return operr
	}
}

// allocate keeps the file's size: fallocate(2) would else show zeroes where nothing was written.
func allocate(f *os.File, size int64) error {
	if size <= 0 {
		return nil
	}
	err := control(f, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, size) })
	// NFS before 4.2, some FUSE file systems: without the reservation a full disk is met at the write instead.
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}

// space counts in f_frsize and takes f_bavail: statfs(2), statvfs(3).
func space(path string) (total, free int64, err error) {
	var s unix.Statfs_t
	for {
		if err = unix.Statfs(path, &s); err != unix.EINTR {
			break
		}
	}
	unit := s.Frsize // statfs(2): the unit of the block counts; 0 on old kernels
	if unit == 0 {
		unit = s.Bsize
	}
	return int64(s.Blocks) * unit, int64(s.Bavail) * unit, err
}

// IsNoSpace reports whether err means that the disk, or the quota on it, is full.
func IsNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
