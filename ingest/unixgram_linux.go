package ingest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// bindUnix binds a unix socket. No process can send to it before it has the requested mode, owner and group: Linux gives
// the file the mode of the socket, so the socket is created with mode 0, and only root could connect. The alternative,
// the umask, applies to the whole process (unix(7)).
func bindUnix(path string, o *UDPOptions, log *limiter, control func(_, _ string, c syscall.RawConn) error) (net.PacketConn, error) {
	a, err := o.access()
	if err != nil {
		return nil, err
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: func(network, address string, c syscall.RawConn) error {
		if a.set() {
			var err error
			cerr := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), 0) })
			if err = errors.Join(cerr, os.NewSyscallError("fchmod", err)); err != nil {
				return err
			}
		}
		return control(network, address, c)
	}}
	conn, err := lc.ListenPacket(context.Background(), o.Network, path)
	if err != nil {
		return nil, err
	}
	if a.set() {
		applied(path)
		if err := a.apply(path); err != nil {
			conn.Close()
			_ = os.Remove(path)
			return nil, err
		}
	}
	warnAccess(path, a, log)
	return conn, nil
}

// removeStale removes a unix socket that no process listens on, so that a listener can start again after a crash.
func removeStale(path string) error {
	fi, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if fi.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s exists and is not a socket", path)
	}
	c, err := net.Dial("unixgram", path)
	if err == nil {
		c.Close()
		return fmt.Errorf("%s is in use by another process", path)
	}
	if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

// applied lets a test examine the socket before its access is set.
var applied = func(string) {}

// apply sets owner and group before the mode, because chown(2) may clear bits of the mode, and because the mode admits
// senders. It works on the opened file, since another user with write permission to the directory could put a link in its
// place.
func (a access) apply(path string) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: path, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFSOCK {
		return fmt.Errorf("%s is not the socket that was bound: %w", path, errors.Join(err, os.ErrInvalid))
	}
	if a.uid >= 0 || a.gid >= 0 {
		if err := unix.Fchownat(fd, "", a.uid, a.gid, unix.AT_EMPTY_PATH); err != nil {
			return fmt.Errorf("%w (this needs CAP_CHOWN, or membership in the group)", &os.PathError{Op: "chown", Path: path, Err: err})
		}
	}
	mode := uint32(a.mode)
	if mode == 0 {
		mode = 0o660 // with an owner or a group alone
	}
	if err := unix.Chmod("/proc/self/fd/"+strconv.Itoa(fd), mode); errors.Is(err, unix.ENOENT) { // no /proc
		return os.Chmod(path, os.FileMode(mode))
	} else if err != nil {
		return &os.PathError{Op: "chmod", Path: path, Err: err}
	}
	return nil
}
