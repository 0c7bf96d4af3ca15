package spool

import (
	"runtime"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/internal/vfs"
)

// stall is a disk whose writes wait until it ends.
type stall struct{ c chan struct{} }

// stalled opens a spool and makes its disk stall from then on.
func stalled(t *testing.T, o Options) (*Spool, *stall) {
	t.Helper()
	d := memDir()
	st := &stall{c: make(chan struct{})}
	var mu sync.Mutex
	on := false
	d.fs = vfs.Inject(d.fs, func(op vfs.Op) error {
		mu.Lock()
		wait := on && op.Kind == vfs.OpWrite
		mu.Unlock()
		if wait {
			<-st.c
		}
		return nil
	})
	s := d.open(t, o)
	mu.Lock()
	on = true
	mu.Unlock()
	return s, st
}

func (st *stall) end() { close(st.c) }

// waiting returns once an append waits for memory.
func (st *stall) waiting(t *testing.T, s *Spool) {
	t.Helper()
	for {
		s.journal.mu.Lock()
		n := len(s.journal.syncer.waiting.parked) + len(s.journal.room.parked)
		busy := s.journal.syncer.busy
		s.journal.mu.Unlock()
		if n > 0 || busy {
			return
		}
		runtime.Gosched()
	}
}
