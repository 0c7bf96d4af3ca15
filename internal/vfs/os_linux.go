package vfs

import (
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// newDataSync prepares everything that fdatasync(2) needs, so that a commit allocates nothing.
func newDataSync(f *os.File) func() error {
	conn, err := f.SyscallConn()
	if err != nil {
		return func() error { return err }
	}
	var mu sync.Mutex
	fsyncs := false
	var operr error
	call := unix.Fdatasync
	op := func(fd uintptr) {
		for {
			operr = call(int(fd))
			if isRefusal(operr) && !fsyncs { // fsync(2) does more than is needed, but is supported everywhere
				fsyncs, call = true, unix.Fsync
				continue
			}
			if operr != unix.EINTR {
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

// allocate keeps the file's size: otherwise the file would show zeroes where nothing was written.
func allocate(f *os.File, size int64) error {
	if size <= 0 {
		return nil
	}
	err := control(f, func(fd int) error { return fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, 0, size) })
	if isRefusal(err) {
		return fmt.Errorf("%w: %w", ErrNotReserved, err)
	}
	return err
}

// fallocate is replaced in tests.
var fallocate = unix.Fallocate

// enotsupp is an internal error number of the kernel that some drivers return to user space.
const enotsupp = unix.Errno(524)

// isRefusal reports whether a system call is unavailable here, whatever its arguments: refused by a seccomp profile (EPERM,
// ENOSYS), unknown to the kernel (ENOSYS), or not supported by the file system (EOPNOTSUPP; ZFS, some FUSE and network file
// systems return EINVAL or ENODEV).
func isRefusal(err error) bool {
	errno, ok := errors.AsType[unix.Errno](err)
	if !ok {
		return false
	}
	switch errno {
	case unix.EPERM, unix.EACCES, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP, unix.ENODEV, enotsupp:
		return true
	}
	return false
}

// space counts in units of f_frsize, and uses f_bavail for free: statfs(2), statvfs(3).
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
	return int64(s.Blocks) * int64(unit), int64(s.Bavail) * int64(unit), err
}

// IsNoSpace reports whether err means that the disk, or the quota on it, is full.
func IsNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
