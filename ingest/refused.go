package ingest

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// refusals are the errors of system calls that are refused in general: seccomp profiles answer EPERM or ENOSYS;
// sandboxes and old kernels answer ENOSYS, EINVAL or EOPNOTSUPP.
var refusals = []error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP}

// explain names the likely cause if a call is refused that has no substitute. The error itself names the call.
func explain(err error) error {
	if err == nil || strings.Contains(err.Error(), "refused") {
		return err // it is more specific already
	}
	for _, errno := range refusals {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: the system call is refused, most likely by a seccomp profile or a sandbox: allow it", err)
		}
	}
	return err
}
