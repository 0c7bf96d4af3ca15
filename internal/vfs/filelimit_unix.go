//go:build linux || darwin

package vfs

import (
	"math"

	"golang.org/x/sys/unix"
)

// MaxFile implements FileLimiter with RLIMIT_FSIZE. A write beyond it raises SIGXFSZ, which ends a Go program.
func (osFS) MaxFile() int64 {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_FSIZE, &l) != nil || l.Cur > math.MaxInt64 {
		return 0 // RLIM_INFINITY is the largest number
	}
	return int64(l.Cur)
}
