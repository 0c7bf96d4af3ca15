package spool

import (
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// fixedReserve is what sealing, the ledger, the index and the chains may need beyond what they use now.
const fixedReserve = 4 << 20

// quota accounts for the directory. space.mu guards it.
//
// Appends stop when what is used has come within the reserve of the limit: from there on sealing, staging, the index and
// deleting live on the reserve, so that a full spool can empty itself.
type quota struct {
	limit   int64 // Options.MaxBytes
	reserve int64
	full    int64 // the reserve before LastCall
	used    int64 // of files, the active one and the spare in their full length
	fixed   int64 // of used: the index and the damaged files, which stay however much is delivered
	// ceiling bounds used, staged files included. It is limit, or more if the spool keeps records beyond the quota (see LastCall)
	// or the quota was lowered: it is always at least the records, plus what is fixed, plus the whole reserve, so that such a spool
	// can empty itself too.
	ceiling int64
	disk    diskSpace
	pool    []poolFile
}

// poolFile is a file of a deleted segment, to be used again.
type poolFile struct {
	number uint64
	size   int64
}

// poolFiles is how many of them are kept at most: enough to bridge the time between deletions, which come in groups.
const poolFiles = 4

// checkFileLimit refuses a process that may not write a file as long as a segment. A later write beyond the limit would end it
// (SIGXFSZ), again and again. For staged files that are longer, as without compression, see drain.Signals.
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

// smallFiles is room for the small files that a spool makes with its first records.
const smallFiles = 64 << 10

// checkSmallest refuses a quota in which a spool without segments has no room for two, beside the file of the index: it would
// never take a record. A spool with segments is opened, so that they can be delivered. The files of the pool give way, and
// damaged files must not prevent a start.
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
	// Small quotas, as tests and sidecars have them, get a reserve in proportion.
	q.reserve = min(fixedReserve, q.limit/16) + o.StageReserve
	q.full = q.reserve
	// Two segments: one that is written while the other one is staged.
	if least := q.reserve + 2*o.SegmentBytes; q.limit < least {
		return q, fmt.Errorf("quota of %d bytes is too small: two segments of %d and a reserve of %d for staging and sealing need %d; "+
			"raise MaxBytes, or lower SegmentBytes or StageReserve", q.limit, o.SegmentBytes, q.reserve, least)
	}
	return q, nil
}

// add counts n bytes more, which may be negative, here and on the disk.
func (q *quota) add(n int64) {
	q.used += n
	q.disk.took(n)
}

// found counts what was there before the disk was looked at.
func (q *quota) found(n int64) { q.used += n }

// pooled returns the bytes of the pool: they count as used, and are the first to go.
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

// foundFixed is found for what is fixed.
func (q *quota) foundFixed(n int64) {
	q.found(n)
	q.fixed += n
}

// raise makes room for the whole reserve above so many bytes of records and what is fixed.
func (q *quota) raise(records int64) { q.ceiling = max(q.ceiling, records+q.fixed+q.full) }

// withBlocks is what records of the given size take at most with their blocks.
func withBlocks(size int64) int64 { return size + size/segment.BlockTarget*blockRoom + blockRoom }

// largest returns the size of the largest batch that is ever taken.
func (q *quota) largest() int64 { return (q.limit - q.reserve) / 2 }
