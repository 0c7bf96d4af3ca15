//go:build linux

package fleet

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain/status"
)

// Sample is what a server shows at one time, summed over its classes.
type Sample struct {
	At        time.Time
	Received  uint64 // since the spool exists
	Pending   map[string]uint64
	Delivered map[string]uint64
}

// Mark is an event of a run.
type Mark struct {
	At     time.Time
	What   string
	Number int // in the picture; 0: it is not there
}

// Watch records a run.
type Watch struct {
	stage *Stage

	mu      sync.Mutex
	samples map[int][]Sample // by slot
	marks   []Mark
	numbers int
}

// mark notes that something happens now. If it is notable, it gets a number, and a line in the picture.
func (w *Watch) mark(what string, notable bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	m := Mark{At: time.Now(), What: what}
	if notable {
		w.numbers++
		m.Number = w.numbers
	}
	w.marks = append(w.marks, m)
}

// run asks every server again and again, until ctx ends.
func (w *Watch) run(ctx context.Context, every time.Duration) {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		var wg sync.WaitGroup
		for _, srv := range w.stage.all() {
			switch srv.phase() {
			case Killed, Gone:
				continue
			case Draining:
				if srv.instance.State() == "Terminating:Retained" {
					srv.reach(Retained)
				}
			}
			wg.Go(func() { w.ask(srv) })
		}
		wg.Wait()
	}
}

// ask takes one sample, or none if the server does not answer, or has not opened every spool yet.
func (w *Watch) ask(srv *Server) {
	snap, err := srv.snapshot()
	if err != nil || slices.ContainsFunc(snap.Classes, func(c status.Class) bool { return c.Down != "" }) {
		return
	}
	s := Sample{At: time.Now(), Pending: map[string]uint64{}, Delivered: map[string]uint64{}}
	for _, c := range snap.Classes {
		s.Received += c.Balance.Received.Records
		for _, d := range c.Destinations {
			s.Pending[d.Destination] += d.Pending.Records
			s.Delivered[d.Destination] += d.Delivered.Records
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.samples[srv.slot] = append(w.samples[srv.slot], s)
}

// pending sums what the latest samples of the living servers owe to a destination.
func (w *Watch) pending(dest string) (n uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, srv := range w.stage.all() {
		all := w.samples[srv.slot]
		if p := srv.phase(); p != Gone && p != Killed && len(all) > 0 {
			n += all[len(all)-1].Pending[dest]
		}
	}
	return n
}
