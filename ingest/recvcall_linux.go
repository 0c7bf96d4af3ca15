package ingest

import (
	"fmt"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// recvCalls are the system calls that can read a socket, the best first. Old kernels, sandboxes, and seccomp profiles
// that are older than a call refuse it. recvmsg(2) receives one datagram at a time. Any other call would return neither
// the arrival times nor the size of the datagrams in a GRO aggregate.
var recvCalls = []struct {
	name string
	// recv takes up to batch datagrams into hdrs, and returns how many.
	recv func(fd uintptr, hdrs *[batch]mmsghdr, flags uintptr) (int, unix.Errno)
}{
	{"recvmmsg", recvmmsg},
	{"recvmsg", recvmsg},
}

func recvmmsg(fd uintptr, hdrs *[batch]mmsghdr, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, fd, uintptr(unsafe.Pointer(&hdrs[0])), batch, flags, 0, 0)
	return int(n), errno
}

func recvmsg(fd uintptr, hdrs *[batch]mmsghdr, flags uintptr) (int, unix.Errno) {
	n, _, errno := unix.Syscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&hdrs[0].hdr)), flags)
	if errno != 0 {
		return 0, errno
	}
	hdrs[0].len = uint32(n)
	return 1, 0
}

// recv receives with the best call that is not refused. It sets MSG_DONTWAIT because another process that shares the
// socket may have made it blocking, and MSG_TRUNC so that the kernel returns the true length of a datagram that does not
// fit.
func (m *mmsg) recv(fd, flags uintptr) (n int, errno unix.Errno) {
	flags |= unix.MSG_DONTWAIT | unix.MSG_TRUNC
	for again := false; ; {
		n, errno = recvCalls[m.call].recv(fd, &m.hdrs, flags)
		switch {
		case errno == unix.EINTR:
		case errno == 0 || !refusal(errno):
			return n, errno
		case !again: // it may have been an error of the socket, such as an ICMP message, which the kernel returns once
			again = true
		case m.call == len(recvCalls)-1:
			return n, errno
		default:
			m.log.warn("ingest: a system call is refused; receiving with the next best one, which costs more CPU time",
				"refused", recvCalls[m.call].name, "err", errno, "instead", recvCalls[m.call+1].name)
			again = false
			m.call++
		}
	}
}

// refusal reports that the system refuses a call: see internal/docs/syscalls.md.
func refusal(errno unix.Errno) bool {
	return errno == unix.EPERM || errno == unix.ENOSYS || errno == unix.EINVAL || errno == unix.EOPNOTSUPP
}

// probe finds the call to receive with, and reads nothing from the socket. It returns an error if all are refused.
func (m *mmsg) probe() (err error) {
	cerr := m.conn.Control(func(fd uintptr) {
		if _, errno := m.recv(fd, unix.MSG_PEEK); errno != 0 && refusal(errno) {
			err = fmt.Errorf("%w: recvmmsg(2) and recvmsg(2) are refused, most likely by a seccomp profile or a sandbox: allow one of them",
				os.NewSyscallError(recvCalls[m.call].name, errno))
		}
	})
	m.rearm(batch)
	if err == nil {
		err = cerr
	}
	return err
}
