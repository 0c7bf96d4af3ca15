//go:build linux || darwin

package vfs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// openNonblock keeps open(2) from waiting. It has no effect on regular files.
const openNonblock = unix.O_NONBLOCK

// openNoFollow makes open(2) fail if the last component of the path is a symbolic link. The components before it belong to the
// operator, or are directories of a spool: see spool.Open.
const openNoFollow = unix.O_NOFOLLOW

// notFollowed explains the error of open(2) for a link.
func notFollowed(path string, err error) error {
	if errors.Is(err, unix.ELOOP) {
		return &fs.PathError{Op: "open", Path: path, Err: errSymlink}
	}
	return err
}

// hasOtherNames reports whether a file has more than one name. File systems that do not count names report 0 or 1.
func hasOtherNames(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

// control runs op on the descriptor, which a concurrent Close cannot close meanwhile, and repeats it after an interruption by a
// signal.
func control(f *os.File, op func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var operr error
	if err := c.Control(func(fd uintptr) {
		for {
			if operr = op(int(fd)); operr != unix.EINTR {
				return
			}
		}
	}); err != nil {
		return os.ErrClosed // the only possible reason, but package syscall does not wrap it
	}
	return operr
}

// tryLock uses flock(2). Its locks belong to the open file, unlike fcntl locks, which belong to the process: a second Lock in
// this process is refused too, and closing another descriptor of the file does not release the lock.
func tryLock(f *os.File) error {
	err := control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return refused("flock", err)
}

// refused explains an error of a call that has no substitute.
func refused(call string, err error) error {
	for _, errno := range []unix.Errno{unix.EPERM, unix.ENOSYS, unix.EINVAL, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return fmt.Errorf("%s(2) is refused: %w (by a seccomp profile, a sandbox such as gVisor, or a network or FUSE file system;"+
				" allow the call, or use a local file system)", call, err)
		}
	}
	return err
}

func unlock(f *os.File) error {
	return control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_UN) })
}

// lockDir locks a directory; it returns nil if the file system can lock only files, as with NFS.
func lockDir(path string) (*os.File, error) {
	d, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	err = tryLock(d)
	if err == nil {
		if err = isAt(d, path); err == nil {
			return d, nil
		}
		return nil, errors.Join(err, d.Close())
	}
	_ = d.Close()
	if !errors.Is(err, ErrLocked) {
		err = nil
	}
	return nil, err
}

// errReplaced: since the directory was opened, the holder of its lock has removed it, and another directory has its name.
var errReplaced = errors.New("the directory was replaced at this moment; try again")

// isAt returns an error if a path no longer leads to d.
func isAt(d *os.File, path string) error {
	have, err := d.Stat()
	if err != nil {
		return err
	}
	now, err := os.Stat(path)
	if err == nil && !os.SameFile(have, now) {
		err = errReplaced
	}
	return err
}

// syncDir fails if directories cannot be synced (some network and FUSE file systems return EINVAL): names would not survive a
// power cut there, and a spool that cannot keep its promise must report that.
func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = refused("fsync", d.Sync())
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}
