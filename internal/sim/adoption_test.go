package sim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

// adoption delivers the volume of a lost host on another host, attempt after attempt.
type adoption struct {
	w        *world
	from, by *host
	dir      string
	life     context.Context
	end      context.CancelFunc
	dead     atomic.Bool
	done     chan struct{}
	err      error // set when done is closed
	// Of the last attempt so far:
	last    atomic.Pointer[drain.Report]
	refused atomic.Pointer[error]
}

// adopt lets n other hosts adopt the host's volume at the same time.
func (w *world) adopt(h *host, n int64) {
	h.mu.Lock()
	h.judge()
	h.mu.Unlock()
	for i := range n {
		by := w.hosts[(h.n+1+int(i))%len(w.hosts)]
		w.lives++
		a := &adoption{w: w, from: h, by: by, dir: fmt.Sprintf("/penstock-sim/%d/%d", w.id, w.lives), done: make(chan struct{})}
		a.life, a.end = context.WithCancel(context.Background())
		by.mu.Lock()
		if by.work == nil {
			by.work = vfs.NewMem()
		}
		work := by.work
		by.mu.Unlock()
		h.jobs = append(h.jobs, a)
		unmountSource := vfs.Mount(a.dir+"/src", ownLocks{vfs.Inject(h.mem, a.operation(h))})
		unmountWork := vfs.Mount(a.dir+"/own", vfs.Inject(work, a.operation(by)))
		go func() {
			defer close(a.done)
			defer unmountSource()
			defer unmountWork()
			a.run()
		}()
	}
}

// step implements mortal.
func (a *adoption) step(string) error {
	if a.dead.Load() {
		return errDead
	}
	return nil
}

func (a *adoption) operation(h *host) vfs.Hook {
	return func(op vfs.Op) error {
		if err := a.step(""); err != nil {
			return err
		}
		return h.fault(op)
	}
}

// kill kills the adoption. The adopter's own disk keeps everything that was written.
func (a *adoption) kill() {
	if a.dead.Swap(true) {
		return
	}
	a.by.mu.Lock()
	a.by.work = a.by.work.KillClone()
	a.by.mu.Unlock()
	a.end()
}

func (a *adoption) run() {
	dests := map[string]ship.Destination{}
	for name, p := range a.w.places {
		dests[name] = door{p, a}
	}
	o := optionsOf(a.from.opts)
	o.ship.Destinations = nil
	for wait := 5*time.Second + time.Duration(a.by.n); ; wait = min(2*wait, 10*time.Minute) {
		var r *drain.Report
		r, a.err = drain.Adopt(a.life, a.dir+"/src/spool", &drain.AdoptOptions{
			Work: a.dir + "/own/work", Destinations: dests, Instance: "adopter-" + a.by.name(), Ship: o.ship, Timeout: time.Hour,
			MaxBytes: 64 << 20, Logger: a.w.log(a),
		})
		if r != nil {
			a.last.Store(r)
		}
		a.refused.Store(nil)
		if a.err != nil {
			err := a.err
			a.refused.Store(&err)
		}
		if errors.Is(a.err, spool.ErrAdopted) || errors.Is(a.err, fs.ErrNotExist) && r == nil || r != nil && r.Outcome == drain.Delivered {
			return
		}
		if sleep(a.life, wait) != nil {
			return
		}
	}
}

// ownLocks is a volume attached to several hosts: their kernels know nothing of each other's locks.
type ownLocks struct{ vfs.FS }

// Lock implements vfs.FS.
func (o ownLocks) Lock(path, _ string) (io.Closer, error) {
	if _, err := o.Stat(path); err != nil {
		return nil, err
	}
	return unlocked{}, nil
}

type unlocked struct{}

func (unlocked) Close() error { return nil }
