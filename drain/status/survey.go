package status

import (
	"fmt"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool"
)

// survey has the values that only the disk can provide, which may hang in the kernel.
type survey struct {
	total, free int64
	volume      string // identifies the file system; "" if that is unknown
	err         error
	damages     []spool.Damage
}

// surveys has the latest survey of each spool. A disk that hangs delays only its own survey.
type surveys struct {
	mu   sync.Mutex
	of   map[string]survey    // by directory
	busy map[string]time.Time // a survey is in progress, since then
	wg   sync.WaitGroup
}

// look starts a survey, unless the previous one is still in progress.
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

// wait waits until all surveys are complete, but only for a moment if a disk hangs.
func (s *surveys) wait() {
	answered := make(chan struct{})
	go func() { s.wg.Wait(); close(answered) }()
	select {
	case <-answered:
	case <-time.After(time.Second):
	}
}

// patience is how long the latest survey is valid while the next one is in progress.
const patience = time.Minute

// get returns the latest survey; false if there is none yet. If the disk has hung for longer than patience, its size is
// unknown.
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
