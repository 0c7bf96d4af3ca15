//go:build unix

package drain

import (
	"os"
	"syscall"
)

// unread are the signals that are taken over and ignored, since the write that raised them also fails.
var unread = []os.Signal{syscall.SIGPIPE, syscall.SIGXFSZ}
