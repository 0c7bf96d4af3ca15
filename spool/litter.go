package spool

import (
	"errors"
	"io/fs"
	"sync"
	"time"
)

// unlink removes a file of the given size. It returns false if the disk refuses.
func (s *space) unlink(path string, size int64) bool {
	switch err := s.fs.Remove(path); {
	case err == nil:
		s.used(-size)
	case !errors.Is(err, fs.ErrNotExist):
		s.log.Warn("spool: cannot delete a file that is not needed any more; it takes room until it can be deleted, at the next start at the latest: see what the file system reports", "class", s.opts.Class, "file", path, "err", err)
		return false
	}
	return true
}

// unlinkForGood is unlink for a file whose name is never used again: if the disk refuses now, the removal is retried.
func (s *space) unlinkForGood(path string, size int64) {
	if !s.unlink(path, size) {
		s.litter.add(path, size)
		wake(s.work)
	}
}

// litter lists files that are not needed any more and that the disk refused to remove. They count as used, and appends may be
// waiting for their room, so the keeper retries each second. The next Open removes those that remain.
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

// takeFiles empties the list and returns what was in it.
func (l *litter) takeFiles() map[string]int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	files := l.files
	l.files = nil
	return files
}

// clearLitter tries again to remove the files in litter, and returns when to repeat that.
func (s *space) clearLitter() time.Duration {
	again := never
	for path, size := range s.litter.takeFiles() {
		if err := s.fs.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			s.litter.add(path, size)
			again = retryEvery
			continue
		}
		s.used(-size)
	}
	return again
}
