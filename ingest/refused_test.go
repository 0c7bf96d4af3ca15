package ingest

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
)

// Each of the errors by which calls are refused is explained; any other stays as it is.
func TestExplain(t *testing.T) {
	for _, errno := range []syscall.Errno{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP} {
		err := explain(&net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errno)})
		if !errors.Is(err, errno) || !strings.Contains(err.Error(), "bind: ") || !strings.Contains(err.Error(), "seccomp") {
			t.Errorf("%v", err)
		}
		if again := explain(err); again != err {
			t.Errorf("explained twice: %v", again)
		}
	}
	for _, err := range []error{nil, syscall.EADDRINUSE, syscall.EACCES, errNoName} {
		if got := explain(err); got != err {
			t.Errorf("%v became %v", err, got)
		}
	}
}
