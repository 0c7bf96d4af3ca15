package ingest

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// refusals are the errors of system calls that are not to be had, whatever they are asked for: seccomp profiles answer EPERM
// or ENOSYS, sandboxes and old kernels ENOSYS, EINVAL or EOPNOTSUPP.
var refusals = []error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP}

// explain names the likely cause of a call that is refused and that nothing can take the place of. The error names the call.
func explain(err error) error {
	if err == nil || strings.Contains(err.Error(), "refused") {
		return err // it says more than can be said here
	}
	for _, errno := range refusals {
		if errors.Is(err, errno) {
			return fmt.Errorf("%w: the system call is refused, most likely by a seccomp profile or a sandbox: allow it", err)
		}
	}
	return err
}
