package spool

import (
	"log/slog"
	"sync"
	"time"
)

// hold stops deletion until release is called. It waits for a deletion in progress.
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

// afterPrune waits for a deletion in progress, which may not have seen a mark that was set after it began.
func (s *Shelf) afterPrune() {
	s.pruning.Lock()
	defer s.pruning.Unlock()
}

// pruneBatch is the most segments that one call of prune deletes. Each takes 20 µs to a millisecond, the keeper's other work waits
// meanwhile, and the room of a batch becomes available only when the disk has confirmed all of it.
const pruneBatch = 1024

// prune deletes the oldest segments that every destination has. It returns when to call it again, for more of them or because the
// disk has refused something. The durable chain states say which segments to delete, so after a crash the next Open's prune
// completes the deletion.
func (s *Shelf) prune() time.Duration {
	s.pruning.Lock()
	defer s.pruning.Unlock()
	if !s.confirmDeletion() {
		return retryEvery
	}
	again := never
	if !s.midway { // not for each batch, since the disk may refuse to remove many files
		again = s.space.clearLitter()
	}
	s.mu.Lock()
	n := s.covered()
	held := s.source != nil || s.holds > 0 || s.frozen != ""
	s.mu.Unlock()
	if held || n == 0 || !s.cat.any(n) {
		return s.pruned(false, again)
	}
	// The ledger must be in a file at all times: in a later segment, in a file of the journal, or in its own.
	if l := s.journal.orphan(); l != nil && s.cat.last() <= n {
		if err := s.space.saveLedger(l); err != nil {
			s.logAgain(slog.LevelWarn, "spool: cannot save the ledger; no segment is deleted until it can be saved, so the spool grows: see what the disk reports", "err", err)
			return retryEvery
		}
	}
	// Files first, index last. An entry without a file is harmless: it shows that there was a segment, and the next Open removes it. A
	// file without an entry would be read again before it is deleted.
	for _, seg := range s.cat.remove(n, pruneBatch) {
		if s.delete(seg, len(s.deleted.pool)) {
			s.deleted.pool = append(s.deleted.pool, poolFile{seg.Number, seg.Size})
		}
		s.deleted.keys = append(s.deleted.keys, segKey(seg.Number))
	}
	_ = s.space.fillInodes() // before other programs take the inodes that are free now
	if !s.confirmDeletion() {
		return retryEvery
	}
	return s.pruned(s.cat.any(n), again)
}

// pruned notes whether more can be deleted, and returns when to call prune again: at once if so, and once more after the last batch,
// for files that the disk has refused to remove. The caller holds s.pruning.
func (s *Shelf) pruned(more bool, again time.Duration) time.Duration {
	before := s.midway
	s.midway = more
	if more || before {
		return 0
	}
	return again
}

// deletion lists what prune has deleted and the disk has not confirmed yet. Until it has, nothing is written to the files in pool,
// and the index keeps the entries: after a power cut a segment must not be back under its name with other contents.
type deletion struct {
	pool []poolFile
	keys []string
}

// confirmDeletion makes deletions durable, and then makes the room of their files available. It returns false if the disk refuses.
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

// delete removes a segment's files, and reports whether its own file is moved to the pool, to which more files are on their
// way.
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

// recycle moves a segment's file to the directory of the pool if it is large enough. Overwriting old blocks does not involve the
// file system's journal, which makes each sync cheaper. Segments that were sealed early, by age, have too few of them.
func (s *Shelf) recycle(seg *sealed, more int) bool {
	return s.space.poolTakes(seg.Size, more) && s.fs.Rename(s.segPath(seg.Number), s.freePath(seg.Number)) == nil
}

// forgetDamages removes the record of given-up damage whose segment and files are gone.
func (s *Shelf) forgetDamages() {
	for _, x := range s.damages.list() {
		if _, ok := s.cat.get(x.Segment); !ok && x.GivenUp && len(x.Files) == 0 {
			s.damages.forget(x.Segment)
		}
	}
}
