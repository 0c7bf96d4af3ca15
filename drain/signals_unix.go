//go:build unix

package drain

import (
	"os"
	"syscall"
)

// unread are the signals that are taken over and need no answer, since the write that raised them fails too.
var unread = []os.Signal{syscall.SIGPIPE, syscall.SIGXFSZ}
