//go:build linux || darwin

package limits

import (
	"math"

	"golang.org/x/sys/unix"
)

// Descriptors returns how many descriptors this process may have, 0 if there is no limit. Go raises the soft limit to the
// hard one when a program starts.
func Descriptors() int {
	var l unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &l) != nil || l.Cur > math.MaxInt32 {
		return 0
	}
	return int(l.Cur)
}
