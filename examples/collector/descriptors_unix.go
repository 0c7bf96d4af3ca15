//go:build unix

package main

import (
	"math"
	"syscall"
)

// fileLimit returns RLIMIT_NOFILE, or 0 if there is none. The Go runtime has already raised the soft limit to the hard limit.
func fileLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || l.Cur > math.MaxInt32 {
		return 0
	}
	return int(l.Cur)
}
