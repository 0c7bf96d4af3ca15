package spool

import (
	"log/slog"
	"sync"
	"time"
)

// hold stops deletion until release is called, what is under way excepted, for which it waits: a drain verifies against what is still here.
func (s *Shelf) hold() (release func()) {
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
func (s *Shelf) afterPrune() {
	s.pruning.Lock()
	defer s.pruning.Unlock()
}

// pruneBatch is the most segments that prune deletes: the keeper has other work that waits meanwhile, a file takes 20 µs to a
// millisecond, and the room of all is given away once the disk has confirmed that they are gone.
const pruneBatch = 1024

// prune deletes the oldest segments that every destination has, and returns when to call it again: for more of them, or because of what
// the disk refused. The chain states, which are durable, say which they are, so that a crash in between is made good by the next Open's prune.
func (s *Shelf) prune() time.Duration {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	if !s.confirmDeletion() {
		return retryEvery
	}
	again := never
	if !s.midway { // not for each batch: the disk may refuse many
		again = s.space.clearLitter()
	}
	s.mu.Lock()
	n := s.covered()
	held := s.source != nil || s.holds > 0 || s.frozen != ""
	s.mu.Unlock()
	if held || n == 0 || !s.cat.any(n) {
		return s.pruned(false, again)
	}
	// The ledger must be in a file at any time: of a later segment, of the journal, or one of its own.
	if l := s.journal.orphan(); l != nil && s.cat.last() <= n {
		if err := s.space.saveLedger(l); err != nil {
			s.logAgain(slog.LevelWarn, "spool: cannot save the ledger; no segment is deleted until it can be saved, so the spool grows: see what the disk reports", "err", err)
			return retryEvery
		}
	}
	// Files first, index last: an entry without a file is swept at the next Open, and says until then what there was. A
	// file without an entry would be read once more, and deleted then.
	for _, seg := range s.cat.remove(n, pruneBatch) {
		if s.delete(seg, len(s.deleted.pool)) {
			s.deleted.pool = append(s.deleted.pool, poolFile{seg.Number, seg.Size})
		}
		s.deleted.keys = append(s.deleted.keys, segKey(seg.Number))
	}
	_ = s.space.fillInodes() // before others take those that are free now
	if !s.confirmDeletion() {
		return retryEvery
	}
	return s.pruned(s.cat.any(n), again)
}

// pruned notes whether more can be deleted, and returns when: at once if so, and once more after the last batch, for what the disk has
// refused in any of them. The caller holds s.pruning.
func (s *Shelf) pruned(more bool, again time.Duration) time.Duration {
	before := s.midway
	s.midway = more
	if more || before {
		return 0
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
func (s *Shelf) confirmDeletion() bool {
	if len(s.deleted.keys) == 0 {
		return true
	}
	for _, dir := range []string{stageDir, segDir, freeDir} {
		if err := s.fs.SyncDir(s.path(dir)); err != nil {
			s.logAgain(slog.LevelWarn, "spool: cannot sync a directory after deleting; trying again; the room of deleted segments is not used until then", "dir", dir, "err", err)
			return false
		}
	}
	d := s.deleted
	s.deleted = deletion{}
	s.space.give(d.pool)
	s.apply(nil, d.keys)
	return true
}

// delete removes a segment's files, and reports whether its own went to the pool, to which more are on their way.
func (s *Shelf) delete(seg *sealed, more int) (pooled bool) {
	kept := s.damages.keepDamaged(seg)
	if seg.StagedSize > 0 {
		s.space.unlinkForGood(s.objPath(seg.Number), seg.StagedSize)
	}
	s.space.unlinkForGood(s.recPath(seg.Number), 0)
	if seg.NoRaw || kept {
		return false
	}
	if pooled = s.recycle(seg, more); !pooled {
		s.space.unlinkForGood(s.segPath(seg.Number), seg.Size)
	}
	return pooled
}

// recycle moves a segment's file to the directory of the pool, if it is worth that: blocks that were written once are
// overwritten without the journal's help, which makes each sync cheaper. Files that were sealed early, by age, have too
// few of them.
func (s *Shelf) recycle(seg *sealed, more int) bool {
	return s.space.poolTakes(seg.Size, more) && s.fs.Rename(s.segPath(seg.Number), s.freePath(seg.Number)) == nil
}

// forgetDamages ends the record of what was given up, where nothing is left to give up.
func (s *Shelf) forgetDamages() {
	for _, x := range s.damages.list() {
		if _, ok := s.cat.get(x.Segment); !ok && x.GivenUp && len(x.Files) == 0 {
			s.damages.forget(x.Segment)
		}
	}
}
