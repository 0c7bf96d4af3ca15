package status

import (
	"fmt"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
)

// survey is what has to be asked of a disk, which may hang in the kernel.
type survey struct {
	total, free int64
	volume      string // identifies the file system; "" if that is unknown
	err         error
	damages     []spool.Damage
}

// surveys has the latest survey of each spool. A disk that hangs delays its own survey, and nothing else.
type surveys struct {
	mu   sync.Mutex
	of   map[string]survey    // by directory
	busy map[string]time.Time // being asked, since then
	wg   sync.WaitGroup
}

// look begins to ask, unless the last question is not answered yet.
func (s *surveys) look(sp *spool.Spool) {
	dir := sp.Dir()
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.busy[dir]; ok {
		return
	}
	if s.of == nil {
		s.of, s.busy = map[string]survey{}, map[string]time.Time{}
	}
	s.busy[dir] = time.Now()
	s.wg.Go(func() {
		var now survey
		now.total, now.free, now.err = vfs.OS().Space(dir)
		now.volume = volumeOf(dir)
		now.damages = sp.Shelf().Damages()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.of[dir] = now
		delete(s.busy, dir)
	})
}

// wait waits until all questions are answered, but no longer than a moment for a disk that hangs.
func (s *surveys) wait() {
	answered := make(chan struct{})
	go func() { s.wg.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(time.Second):
	}
}

// patience is how long the latest survey counts while the next one is not answered.
const patience = time.Minute

// get returns the latest survey; false if there is none yet. The size that a disk had before it hung is unknown now.
func (s *surveys) get(dir string) (survey, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, ok := s.of[dir]
	if since, busy := s.busy[dir]; busy && time.Since(since) >= patience {
		v.total, v.free, v.err = 0, 0, fmt.Errorf("the disk has not answered for %v", time.Since(since).Round(time.Second))
		ok = true
	}
	return v, ok
}
