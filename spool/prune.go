package spool

import (
	"errors"
	"io/fs"
	"sync"

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

// prune deletes the segments that every destination has. The chain states, which are durable, say which they are, so
// that a crash in between is made good by the next Open's prune.
func (s *Spool) prune() {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	s.mu.Lock()
	n := s.covered()
	held := s.source != nil || s.holds > 0 || s.frozen != ""
	l := s.orphanedBy(n)
	s.mu.Unlock()
	if held || n == 0 || !s.cat.any(n) {
		return
	}
	if l != nil {
		if err := s.saveLedger(l); err != nil {
			s.log.Warn("spool: cannot save the ledger, deleting nothing", "class", s.opts.Class, "err", err)
			return
		}
	}
	gone := s.cat.remove(n)
	if len(gone) == 0 {
		return
	}
	// Files first, index last: an entry without a file is swept at the next Open, and says until then what there was. A
	// file without an entry would be read once more, and deleted then.
	keys := make([]string, len(gone))
	var pool []poolFile
	for i, seg := range gone {
		if s.delete(seg, len(pool)) {
			pool = append(pool, poolFile{seg.Number, seg.Size})
		}
		keys[i] = segKey(seg.Number)
	}
	for _, dir := range []string{stageDir, segDir, freeDir} {
		if err := s.fs.SyncDir(s.path(dir)); err != nil {
			s.log.Warn("spool: cannot sync a directory after deleting", "class", s.opts.Class, "dir", dir, "err", err)
			return // the index keeps the entries; the next Open deletes what is still there
		}
	}
	// Only now may they be written to: a power cut must not bring a segment back by its name with other contents.
	s.mu.Lock()
	s.quota.pool = append(s.quota.pool, pool...)
	s.moreRoom()
	s.mu.Unlock()
	s.apply(nil, keys)
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

// delete removes a segment's files, and reports whether its own went to the pool, to which more are on their way. What
// cannot be removed now goes at the next Open.
func (s *Spool) delete(seg *sealed, more int) (pooled bool) {
	kept := s.keepDamaged(seg)
	if seg.StagedSize > 0 {
		s.unlink(s.objPath(seg.Number), seg.StagedSize)
	}
	s.unlink(s.recPath(seg.Number), 0)
	if seg.NoRaw || kept {
		return false
	}
	if pooled = s.recycle(seg, more); !pooled {
		s.unlink(s.segPath(seg.Number), seg.Size)
	}
	return pooled
}

// unlink removes a file of the given size.
func (s *Spool) unlink(path string, size int64) {
	switch err := s.fs.Remove(path); {
	case err == nil:
		s.used(-size)
	case !errors.Is(err, fs.ErrNotExist):
		s.log.Warn("spool: cannot delete", "class", s.opts.Class, "file", path, "err", err)
	}
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
