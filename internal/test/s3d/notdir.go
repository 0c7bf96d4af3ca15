//go:build !plan9

package s3d

import (
	"errors"
	"syscall"
)

// isNotDir tells that a path leads through a file.
func isNotDir(err error) bool { return errors.Is(err, syscall.ENOTDIR) }
