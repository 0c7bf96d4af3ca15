package spool

import (
	"errors"
)

// errNoSize: a share of an unknown size is no quota.
var errNoSize = errors.New("the file system does not tell its size (statfs(2) is refused, or answers 0): set MaxBytes")

// diskSpace is what the file system has left, as far as it tells. A file system whose size is unknown bounds nothing: the
// quota alone counts. space.mu guards it.
type diskSpace struct {
	known bool
	total int64 // 0 if it is not known
	free  int64 // when last looked at, less what was taken since
}

// look notes what the file system says, and returns whether there is more room than before. A total of 0 is an answer of a
// file system that does not tell.
func (d *diskSpace) look(total, free int64) (more bool) {
	before := *d
	*d = diskSpace{known: total > 0, total: total, free: free}
	return before.known && (!d.known || free > before.free)
}

// capacity returns what other programs use, too.
func (d *diskSpace) capacity() Capacity {
	if !d.known {
		return Capacity{}
	}
	return Capacity{Used: d.total - d.free, Size: d.total}
}

// took notes that n bytes were taken, or given back if n is negative.
func (d *diskSpace) took(n int64) { d.free -= n }

// atMost bounds n by what is left.
func (d *diskSpace) atMost(n int64) int64 {
	if d.known {
		return min(n, d.free)
	}
	return n
}
