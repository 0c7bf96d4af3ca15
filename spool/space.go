package spool

import (
	"fmt"
	"math"
	"sync"
	"sync/atomic"

	"github.com/penstock-go/penstock/internal/vfs"

	"github.com/penstock-go/penstock/spool/internal/fatal"
)

// space accounts for the disk space of the directory, and has the files that are prepared for later segments: the pool and the
// spare. Both halves of the spool use it. It calls neither of them, except through freed.
//
// # Guards
//
// mu guards the fields below it. inodes and litter have locks of their own. No file is accessed while mu is held, and freed is
// called without it.
type space struct {
	*site
	freed   func()       // called after room was freed
	largest atomic.Int64 // the size of the largest batch that is ever accepted
	inodes  *vfs.Reserve
	litter  litter
	warned  sync.Once // logs that disk blocks cannot be reserved

	mu        fatal.Mutex
	quota     quota
	spare     *spare // the segment prepared to follow the active one
	number    uint64 // the last segment number assigned
	overdraft overdraft
}

// newSpace returns the space of a directory. Its quota has to be set.
func newSpace(at *site) *space { return &space{site: at, freed: func() {}, inodes: newInodes(at)} }

func (s *space) setQuota(q quota) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota = q
	s.largest.Store(q.largest())
}

func (s *space) limit() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quota.limit
}

func (s *space) usage() quota {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quota
}

// left returns how many bytes of blocks may still be accepted: those that are free in the quota and on the disk, without the reserve,
// and those that count as used but are empty: the pool, the spare, and open, the rest of the active segment.
func (s *space) left(open int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftOf(s.quota.disk.atMost(s.quota.limit-s.quota.used), open)
}

// crowded reports whether the spool uses more room than is left for it.
func (s *space) crowded() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftOf(s.quota.disk.atMost(s.quota.limit-s.quota.used), 0) < s.quota.used-s.quota.pooled()
}

// leftOnDisk is left without regard to the quota.
func (s *space) leftOnDisk(open int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.leftOf(s.quota.disk.atMost(math.MaxInt64/2), open)
}

// leftOf is left with the given number of free bytes. s.mu is held.
func (s *space) leftOf(free, open int64) int64 {
	if s.spare != nil {
		open += s.opts.SegmentBytes
	}
	return free - s.quota.reserve + s.quota.pooled() + open
}

// diskShort reports whether appends find no room because of other programs' files on the disk.
func (s *space) diskShort(open int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	free := s.quota.limit - s.quota.used
	return s.quota.disk.atMost(free) < free && s.leftOf(s.quota.disk.atMost(free), open) < blockRoom
}

// openReserve lets appends use half of the reserve for staging.
func (s *space) openReserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota.reserve -= s.opts.StageReserve / 2
	s.largest.Store(s.quota.largest())
}

// raise is quota.raise, and reports whether the ceiling exceeds the limit for the first time.
func (s *space) raise(records int64) (first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.quota.ceiling
	s.quota.raise(records)
	return was == s.quota.limit && s.quota.ceiling > was
}

// add adds n bytes, which may be negative, to the used ones. The caller must wake the appends that wait for room.
func (s *space) add(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota.add(n)
}

// used is add, and wakes the appends that wait for room.
func (s *space) used(n int64) {
	s.add(n)
	if n < 0 {
		s.freed()
	}
}

// fix adds n bytes, which may be negative, to the fixed ones.
func (s *space) fix(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.quota.fixed += n
}

// grow counts n bytes of a segment's staged file that is being written; errNoRoom if the quota has no room for them.
func (s *space) grow(number uint64, n int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.quota.used+n > s.quota.ceiling && !s.overdraft.has(number) {
		return errNoRoom
	}
	s.quota.add(n)
	return nil
}

// stageRoom reports whether there is probably room to stage a segment of the given size.
func (s *space) stageRoom(size int64) bool {
	s.lookAtDisk() // an adopted spool has no keeper that does this
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.quota.disk.atMost(s.quota.ceiling-s.quota.used) >= size*5/4
}

// lookAtDisk notes the free space of the file system, since other programs use it too.
func (s *space) lookAtDisk() {
	total, free, err := s.fs.Space(s.dir)
	if err != nil {
		return
	}
	s.mu.Lock()
	more := s.quota.disk.look(total, free)
	s.mu.Unlock()
	if more {
		s.freed()
	}
}

// makeRoom removes a file that nothing depends on: one of the pool, or the spare. It returns false if there is none. Sealing and
// acknowledging write little, and free more than they use; so they must find room even on a disk that other programs have filled.
func (s *space) makeRoom() bool {
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

// writeAtomic is vfs.WriteFileAtomic, but makes room on a full disk if it can.
func (s *space) writeAtomic(path string, data []byte) error {
	return s.writeGiving(path, data, s.giveInode)
}

// writeGiving is writeAtomic with give instead of giveInode.
func (s *space) writeGiving(path string, data []byte, give func(error, int64) bool) error {
	for {
		err := vfs.WriteFileAtomic(s.fs, path, data)
		if !vfs.IsNoSpace(err) || !s.makeRoom() && !give(err, int64(len(data))) {
			return err
		}
	}
}

// inodeHint explains why the disk refuses a new segment although it has free blocks for it.
func (s *space) inodeHint(err error) string {
	if !vfs.IsNoSpace(err) {
		return ""
	}
	if q := s.usage(); q.disk.known && q.disk.free > s.opts.SegmentBytes+footerRoom {
		return " (although there are free blocks: see `df -i` for inodes, and the quotas of the file system)"
	}
	return ""
}

// errNoRoom: the quota leaves no room for a staged file.
var errNoRoom = fmt.Errorf("%w, the reserve for staging included", ErrFull)
