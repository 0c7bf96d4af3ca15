package ingest

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
)

// refusals are the errors that mean that the system refuses a call altogether: seccomp profiles return EPERM or ENOSYS;
// sandboxes and old kernels return ENOSYS, EINVAL or EOPNOTSUPP.
var refusals = []error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP}

// explain adds the likely cause to the error of a refused call that has no substitute. The error itself names the call.
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
