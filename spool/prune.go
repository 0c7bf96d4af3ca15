package spool

import (
	"errors"
	"io/fs"
	"sync"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Hold stops deletion until release is called, what is under way excepted, for which it waits: a drain verifies against what is still here.
func (s *Spool) Hold() (release func()) {
	s.mu.Lock()
	s.holds++
	s.mu.Unlock()
	s.afterPrune()
	return sync.OnceFunc(func() {
		s.mu.Lock()
		s.holds--
		s.mu.Unlock()
		wake(s.work)
	})
}

// afterPrune waits for the deletion that is under way, which did not know of a mark that was set since it began.
func (s *Spool) afterPrune() {
	s.pruning.Lock()
	defer s.pruning.Unlock()
}

// covered returns the number of the last segment that every destination has, 0 for none. Without destinations nobody can
// say that a segment may go. s.mu is held.
func (s *Spool) covered() (n uint64) {
	first := true
	for _, d := range s.dests {
		if d.forgotten {
			continue
		}
		if first || d.chain.Segment < n {
			n = d.chain.Segment
		}
		first = false
	}
	return n
}

// prune deletes the segments that every destination has, and returns when to try again what the disk refused. The chain
// states, which are durable, say which they are, so that a crash in between is made good by the next Open's prune.
func (s *Spool) prune() time.Duration {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	if !s.confirmDeletion() {
		return retryEvery
	}
	again := s.clearLitter()
	s.mu.Lock()
	n := s.covered()
	held := s.source != nil || s.holds > 0 || s.frozen != ""
	l := s.orphanedBy(n)
	s.mu.Unlock()
	if held || n == 0 || !s.cat.any(n) {
		return again
	}
	if l != nil {
		if err := s.saveLedger(l); err != nil {
			s.log.Warn("spool: cannot save the ledger, deleting nothing", "class", s.opts.Class, "err", err)
			return retryEvery
		}
	}
	// Files first, index last: an entry without a file is swept at the next Open, and says until then what there was. A
	// file without an entry would be read once more, and deleted then.
	for _, seg := range s.cat.remove(n) {
		if s.delete(seg, len(s.deleted.pool)) {
			s.deleted.pool = append(s.deleted.pool, poolFile{seg.Number, seg.Size})
		}
		s.deleted.keys = append(s.deleted.keys, segKey(seg.Number))
	}
	_ = s.fillInodes() // before others take those that are free now
	if !s.confirmDeletion() {
		return retryEvery
	}
	return again
}

// deletion is what prune has deleted and the disk has not confirmed yet. Until it has, nobody writes to the files in pool,
// and the index keeps the entries: a power cut must not bring a segment back by its name with other contents.
type deletion struct {
	pool []poolFile
	keys []string
}

// confirmDeletion makes deletions durable, and gives the room of their files away. It returns false if the disk refuses.
// The caller holds s.pruning.
func (s *Spool) confirmDeletion() bool {
	if len(s.deleted.keys) == 0 {
		return true
	}
	for _, dir := range []string{stageDir, segDir, freeDir} {
		if err := s.fs.SyncDir(s.path(dir)); err != nil {
			s.log.Warn("spool: cannot sync a directory after deleting, trying again", "class", s.opts.Class, "dir", dir, "err", err)
			return false
		}
	}
	d := s.deleted
	s.deleted = deletion{}
	s.mu.Lock()
	s.quota.pool = append(s.quota.pool, d.pool...)
	s.moreRoom()
	s.mu.Unlock()
	s.apply(nil, d.keys)
	return true
}

// orphanedBy returns the ledger at the durable end of the log if deleting the segments up to number n leaves no file that
// holds it, else nil. One that is being written holds it once its header is on stable storage: until then a power cut may
// leave nothing of it. s.mu is held.
func (s *Spool) orphanedBy(n uint64) *segment.Ledger {
	held := s.cat.last() > n || s.active != nil && s.active.synced > 0
	for _, r := range s.rolled {
		held = held || r.end > 0
	}
	if held {
		return nil
	}
	return s.ledgerAt(s.placed)
}

// delete removes a segment's files, and reports whether its own went to the pool, to which more are on their way.
func (s *Spool) delete(seg *sealed, more int) (pooled bool) {
	kept := s.keepDamaged(seg)
	if seg.StagedSize > 0 {
		s.unlinkForGood(s.objPath(seg.Number), seg.StagedSize)
	}
	s.unlinkForGood(s.recPath(seg.Number), 0)
	if seg.NoRaw || kept {
		return false
	}
	if pooled = s.recycle(seg, more); !pooled {
		s.unlinkForGood(s.segPath(seg.Number), seg.Size)
	}
	return pooled
}

// unlink removes a file of the given size. It returns false if the disk refuses.
func (s *Spool) unlink(path string, size int64) bool {
	switch err := s.fs.Remove(path); {
	case err == nil:
		s.used(-size)
	case !errors.Is(err, fs.ErrNotExist):
		s.log.Warn("spool: cannot delete", "class", s.opts.Class, "file", path, "err", err)
		return false
	}
	return true
}

// unlinkForGood is unlink for a file whose name never comes back: what the disk refuses now is tried again.
func (s *Spool) unlinkForGood(path string, size int64) {
	if !s.unlink(path, size) {
		s.litter.add(path, size)
		wake(s.work)
	}
}

// litter holds files that nobody needs any more and the disk would not remove. They count as used, and appends may be
// waiting for their room, so the keeper tries again each second; what is still there in the end goes at the next Open.
type litter struct {
	mu    sync.Mutex
	files map[string]int64 // sizes by path
}

func (l *litter) add(path string, size int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.files == nil {
		l.files = map[string]int64{}
	}
	l.files[path] = size
}

// take empties the list and returns what was in it.
func (l *litter) take() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	files := l.files
	l.files = nil
	return files
}

// clearLitter tries once more to remove what the disk refused, and returns when to try again.
func (s *Spool) clearLitter() time.Duration {
	again := never
	for path, size := range s.litter.take() {
		if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.litter.add(path, size)
			again = retryEvery
			continue
		}
		s.used(-size)
	}
	return again
}

// recycle moves a segment's file to the directory of the pool, if it is worth that: blocks that were written once are
// overwritten without the journal's help, which makes each sync cheaper. Files that were sealed early, by age, have too
// few of them.
func (s *Spool) recycle(seg *sealed, more int) bool {
	s.mu.Lock()
	worth := len(s.quota.pool)+more < poolFiles && seg.Size >= s.opts.SegmentBytes/4*3 && seg.Size <= s.opts.SegmentBytes/4*5
	s.mu.Unlock()
	return worth && s.fs.Rename(s.segPath(seg.Number), s.freePath(seg.Number)) == nil
}
