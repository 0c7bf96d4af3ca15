package vfs

import (
	"errors"
	"fmt"
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
	fsyncs := false
	var operr error
	call := unix.Fdatasync
	op := func(fd uintptr) {
		for {
			operr = call(int(fd))
			if isRefusal(operr) && !fsyncs { // fsync(2) does more than is needed, and is known everywhere
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

// allocate keeps the file's size: fallocate(2) would else show zeroes where nothing was written.
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

// enotsupp is an error number that the kernel has for itself and some drivers return all the same.
const enotsupp = unix.Errno(524)

// isRefusal reports that a system call is not to be had here, whatever it is asked for: refused by a seccomp profile
// (EPERM, ENOSYS), not known to the kernel (ENOSYS), or to the file system (EOPNOTSUPP; ZFS, some FUSE and network file
// systems answer EINVAL or ENODEV).
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
	return int64(s.Blocks) * int64(unit), int64(s.Bavail) * int64(unit), err
}

// IsNoSpace reports whether err means that the disk, or the quota on it, is full.
func IsNoSpace(err error) bool { return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) }
