package spool

import (
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// fixedReserve is how many more bytes sealing, the ledger, the index and the chains may need.
const fixedReserve = 4 << 20

// quota accounts for the directory. space.mu guards it.
//
// Appends stop when less than the reserve is free below the limit. Only sealing, staging, the index and deletion may use the
// reserve, so that a full spool can empty itself.
type quota struct {
	limit   int64 // Options.MaxBytes
	reserve int64
	full    int64 // the reserve before LastCall
	used    int64 // by all files, with the active segment and the spare in their full length
	fixed   int64 // part of used: the index and the damaged files, which delivery does not free
	// ceiling is the upper bound of used, staged files included. It is limit, or more if the spool keeps records beyond the quota
	// (see LastCall) or the quota was lowered: it is always at least the records, plus fixed, plus the whole reserve, so that such
	// a spool can empty itself too.
	ceiling int64
	disk    diskSpace
	pool    []poolFile
}

// poolFile is a file of a deleted segment, to be reused.
type poolFile struct {
	number uint64
	size   int64
}

// poolFiles is the largest number of files in the pool: enough for the time between deletions, which come in groups.
const poolFiles = 4

// checkFileLimit refuses a process that may not write a file as long as a segment. A later write beyond the limit would kill the
// process (SIGXFSZ), at each start again. For staged files that are longer, as without compression, see drain.Signals.
func checkFileLimit(fsys vfs.FS, o *Options) error {
	l, ok := fsys.(vfs.FileLimiter)
	if !ok {
		return nil
	}
	need := max(o.SegmentBytes+footerRoom, o.SegmentBytes/4*5)
	if most := l.MaxFile(); most > 0 && most < need {
		return fmt.Errorf("%w: this process may write files of %d bytes at most (RLIMIT_FSIZE), and segments and their staged files need %d:"+
			" raise the limit (ulimit -f, LimitFSIZE=) or lower SegmentBytes", ErrOptions, most, need)
	}
	return nil
}

// smallFiles is the room for the small files that a spool creates with its first records.
const smallFiles = 64 << 10

// checkSmallest refuses a quota in which a spool without segments has no room for two segments besides the index file: it would
// never accept a record. A spool with segments is opened, so that they can be delivered. Files of the pool do not count, because they
// are removed when room is needed, nor do damaged files, because they must not prevent a start.
func (s *Spool) checkSmallest() error {
	if s.source != nil || s.shelf.cat.last() > 0 || s.journal.active != nil {
		return nil
	}
	q := s.space.usage()
	empty := q.fixed - s.damages.held + smallFiles
	if least := empty + q.reserve + 2*s.opts.SegmentBytes; q.limit < least {
		return fmt.Errorf("%w: MaxBytes %d is too small: an empty spool uses %d, the reserve for staging and sealing is %d, and two segments "+
			"need %d, together %d", ErrOptions, q.limit, empty, q.reserve, 2*s.opts.SegmentBytes, least)
	}
	return nil
}

func newQuota(o *Options, total int64) (quota, error) {
	q := quota{limit: o.MaxBytes}
	if q.limit == 0 && total == 0 {
		return q, errNoSize
	}
	if q.limit == 0 {
		q.limit = total / 10 * 9
	}
	q.ceiling = q.limit
	// Small quotas, as in tests and sidecars, get a proportionally small reserve.
	q.reserve = min(fixedReserve, q.limit/16) + o.StageReserve
	q.full = q.reserve
	// Two segments: one that is written while the other one is staged.
	if least := q.reserve + 2*o.SegmentBytes; q.limit < least {
		return q, fmt.Errorf("quota of %d bytes is too small: two segments of %d and a reserve of %d for staging and sealing need %d; "+
			"raise MaxBytes, or lower SegmentBytes or StageReserve", q.limit, o.SegmentBytes, q.reserve, least)
	}
	return q, nil
}

// add adds n bytes, which may be negative, to used, and subtracts them from the free space of the disk.
func (q *quota) add(n int64) {
	q.used += n
	q.disk.took(n)
}

// found adds n bytes that existed already when the free space of the disk was read.
func (q *quota) found(n int64) { q.used += n }

// pooled returns the bytes of the pool: they count as used, and are the first to be removed.
func (q *quota) pooled() (n int64) {
	for _, f := range q.pool {
		n += f.size
	}
	return n
}

// pop takes a file from the pool.
func (q *quota) pop() (f poolFile, ok bool) {
	if n := len(q.pool); n > 0 {
		f, q.pool = q.pool[n-1], q.pool[:n-1]
		return f, true
	}
	return f, false
}

// foundFixed is found for files that count as fixed.
func (q *quota) foundFixed(n int64) {
	q.found(n)
	q.fixed += n
}

// raise raises the ceiling, if necessary, to the bytes of records, plus fixed, plus the whole reserve.
func (q *quota) raise(records int64) { q.ceiling = max(q.ceiling, records+q.fixed+q.full) }

// withBlocks returns the largest size of records of the given size with their blocks.
func withBlocks(size int64) int64 { return size + size/segment.BlockTarget*blockRoom + blockRoom }

// largest returns the size of the largest batch that is ever accepted.
func (q *quota) largest() int64 { return (q.limit - q.reserve) / 2 }
