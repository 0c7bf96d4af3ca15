package spool

import (
	"fmt"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// fixedReserve is what sealing, the ledger, the index and the chains may need beyond what they use now.
const fixedReserve = 4 << 20

// quota accounts for the directory. Spool.mu guards it.
//
// Appends stop when what is used has come within the reserve of the limit: from there on sealing, staging, the index and
// deleting live on the reserve, so that a full spool can empty itself.
type quota struct {
	limit   int64 // Options.MaxBytes
	reserve int64
	full    int64 // the reserve before LastCall
	used    int64 // of files, the active one and the spare in their full length
	left    int64 // in the active segment
	// ceiling bounds used with what is staged. It is limit, or more if records are kept over the quota (see LastCall):
	// between them and it there is always room for the reserve, so that such a spool can empty itself too.
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

// begin notes how much room the active segment has, wrote what of it is used.
func (q *quota) begin(n int64) { q.left = n }
func (q *quota) wrote(n int64) { q.left = max(0, q.left-n) }

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

// raise makes room for the whole reserve above so many bytes of records.
func (q *quota) raise(records int64) { q.ceiling = max(q.ceiling, records+q.full) }

// roomLeft returns how many bytes of blocks may still be taken: what is free, and what is in use but empty, without what
// waits in memory for it. Others may fill the disk as well, so what it has left bounds it too. s.mu is held.
func (s *Spool) roomLeft() int64 { return s.roomIn(s.quota.disk.atMost(s.quota.limit - s.quota.used)) }

// roomIn is roomLeft for so many bytes that are free. s.mu is held.
func (s *Spool) roomIn(free int64) int64 {
	open := s.quota.left - s.tail.unwritten
	if s.spare != nil {
		open += s.opts.SegmentBytes
	}
	return free - s.quota.reserve + s.quota.pooled() + open
}

// hasRoom reports whether records of the given size may be taken. s.mu is held. It is asked before anything is copied, so
// that what was taken always finds room, unless others fill the disk.
func (s *Spool) hasRoom(size int64) bool { return !s.noSpace && s.roomLeft() >= withBlocks(size) }

// withBlocks is what records of the given size take at most with their blocks.
func withBlocks(size int64) int64 { return size + size/segment.BlockTarget*blockRoom + blockRoom }

// largest returns the size of the largest batch that is ever taken.
func (q *quota) largest() int64 { return (q.limit - q.reserve) / 2 }

// moreRoom lets those who wait for room look again. s.mu is held.
func (s *Spool) moreRoom() {
	if s.full {
		s.full = false
		s.cat.changed()
	}
	s.room.wakeAll()
}

// makeRoom gives up a file that nothing depends on: one of the pool, or the spare. What sealing and acknowledging write is
// small, and sets more free than it takes; it has to find room on a disk that others have filled, too.
func (s *Spool) makeRoom() bool {
	s.mu.Lock()
	f, ok := s.quota.pop()
	sp := s.spare
	if !ok {
		s.spare = nil
	}
	s.mu.Unlock()
	switch {
	case ok:
		s.unlinkForGood(s.freePath(f.number), f.size)
	case sp != nil:
		s.discard(sp)
	default:
		return false
	}
	return true
}

// writeAtomic is vfs.WriteFileAtomic, on a full disk too if anything can be given up for it.
func (s *Spool) writeAtomic(path string, data []byte) error {
	return s.writeGiving(path, data, s.giveInode)
}

// writeGiving is writeAtomic with give in place of giveInode.
func (s *Spool) writeGiving(path string, data []byte, give func(error, int64) bool) error {
	for {
		err := vfs.WriteFileAtomic(s.fs, path, data)
		if !vfs.IsNoSpace(err) || !s.makeRoom() && !give(err, int64(len(data))) {
			return err
		}
	}
}

// used adds n bytes, which may be negative, to what the directory holds.
func (s *Spool) used(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota.add(n)
	if n < 0 {
		s.moreRoom()
	}
}
