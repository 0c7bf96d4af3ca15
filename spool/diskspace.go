package spool

import (
	"errors"
)

// errNoSize: the default quota is a share of the file system's size, which is not known.
var errNoSize = errors.New("the file system does not report its size (statfs(2) fails or returns 0): set MaxBytes")

// diskSpace is the free space of the file system, if the file system reports it. If it does not, only the quota limits the spool.
// space.mu guards it.
type diskSpace struct {
	known bool
	total int64 // 0 if it is not known
	free  int64 // at the last look, less what was allocated since
}

// look stores what the file system reports, and returns whether there is more room than before. A total of 0 means that the file
// system does not report its size.
func (d *diskSpace) look(total, free int64) (more bool) {
	before := *d
	*d = diskSpace{known: total > 0, total: total, free: free}
	return before.known && (!d.known || free > before.free)
}

// capacity returns the use of the whole file system, other programs included.
func (d *diskSpace) capacity() Capacity {
	if !d.known {
		return Capacity{}
	}
	return Capacity{Used: d.total - d.free, Size: d.total}
}

// took subtracts n allocated bytes from the free space. n is negative if they were freed.
func (d *diskSpace) took(n int64) { d.free -= n }

// atMost limits n to the free space.
func (d *diskSpace) atMost(n int64) int64 {
	if d.known {
		return min(n, d.free)
	}
	return n
}
