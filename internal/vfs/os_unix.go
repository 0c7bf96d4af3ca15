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

// openNonblock keeps open(2) from waiting. Regular files do not know it.
const openNonblock = unix.O_NONBLOCK

// openNoFollow makes open(2) fail if the last component of the path is a symbolic link. The ones before it are the
// operator's, or a spool's directories: see spool.Open.
const openNoFollow = unix.O_NOFOLLOW

// notFollowed explains the error of open(2) for a link.
func notFollowed(path string, err error) error {
	if errors.Is(err, unix.ELOOP) {
		return &fs.PathError{Op: "open", Path: path, Err: errSymlink}
	}
	return err
}

// hasOtherNames reports whether a file has more than one name. File systems that do not count them say 0 or 1.
func hasOtherNames(fi fs.FileInfo) bool {
	st, ok := fi.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}

// control runs op on the descriptor, which a concurrent Close cannot pull away, and again when a signal interrupted it.
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
		return os.ErrClosed // the only reason there is, and not wrapped in it by package syscall
	}
	return operr
}

// tryLock uses flock(2), which belongs to the open file and not to the process as fcntl locks do: a second Lock in this
// process is refused too, and closing some other descriptor of the file does not drop it.
func tryLock(f *os.File) error {
	err := control(f, func(fd int) error { return unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return refused("flock", err)
}

// refused explains an error of a call that there is no substitute for.
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

// lockDir locks a directory; nil where the file system locks files alone, as NFS does.
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

// errReplaced: who held the lock of a directory has removed it since it was opened, and another one has its name.
var errReplaced = errors.New("the directory was replaced at this moment; try again")

// isAt returns an error if a path leads elsewhere by now.
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

// syncDir fails where directories cannot be synced (some network and FUSE file systems answer EINVAL): names would not
// survive a power cut there, and a spool that cannot keep its promise says so.
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
