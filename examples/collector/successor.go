package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
)

// succeed takes over from the process that started this one. If it returns an error before Commit, this process ends and the
// predecessor continues. After Commit this process receives into memory until the predecessor has closed the spools. The
// channel is closed when every spool is open, or cannot be opened for a reason other than the predecessor.
func (s *service) succeed(ctx context.Context, predecessor *ingest.Inheritance) (tried <-chan struct{}, err error) {
	for _, cl := range s.classes {
		// After Commit it would be too late: received records would be in memory, and no spool would accept them.
		if err := cl.spoolOptions.Check(cl.dir); err != nil {
			return nil, fmt.Errorf("class %s: its spool would not open: %w", cl.name, err)
		}
		if err := cl.bind(predecessor); err != nil {
			return nil, fmt.Errorf("class %s: %w", cl.name, err)
		}
	}
	if err := predecessor.Commit(ctx); err != nil {
		return nil, err
	}
	for _, cl := range s.classes {
		cl.spoolOptions.Successor = true
		cl.hold = s.served.hold(cl.spoolOptions.MemoryBytes, predecessor, cl.log)
		s.drainer.Down(cl.name, errTakeOver)
		cl.serve(cl.hold, s.drainer)
	}
	predecessor.Serving()
	var waiting sync.WaitGroup
	var closed atomic.Int64 // spools that are not open
	for _, cl := range s.classes {
		waiting.Add(1)
		s.holds.busy.Go(func() {
			cl.settle(s.drainer, sync.OnceFunc(func() {
				if !cl.isOpen() {
					closed.Add(1)
				}
				waiting.Done()
			}))
		})
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		waiting.Wait()
		if n := closed.Load(); n > 0 {
			s.log.Error("took over from the predecessor, but some spools cannot be opened: their records are in memory only until a retry succeeds; correct the causes in the preceding warnings", "classes", n)
			return
		}
		s.log.Info("took over from the predecessor; its spools are open here, and its sockets were never closed")
	}()
	return done, nil
}

// settle opens the spool as soon as the predecessor has closed it, and moves the records received meanwhile into it (see
// attach). It calls tried when the spool is open, or when something other than the predecessor prevents that, so that the other
// classes need not wait for this one. When the process ends, settle gives up: immediately if something other than the
// predecessor prevents the opening, otherwise when no time is left.
func (cl *class) settle(d *drain.Drainer, tried func()) {
	defer tried()
	ending, last := cl.attaches.ending, cl.attaches.last
	var logged time.Time
	for {
		over := ending.Err() != nil // if so, this is the last attempt, unless the predecessor has the spool
		err := cl.openSpool()
		if err == nil {
			err = cl.attach(d, tried)
		}
		if err == nil {
			return
		}
		locked := errors.Is(err, spool.ErrLocked)
		if over && !locked || last.Err() != nil {
			cl.loseHeld(d, err)
			return
		}
		wait, why := 20*time.Millisecond, "the predecessor is closing it"
		if !locked {
			d.Down(cl.name, err)
			tried()
			wait, why = time.Second, "it cannot be opened: correct what err names"
		}
		if time.Since(logged) > 10*time.Second {
			logged = time.Now()
			held := cl.hold.Held()
			cl.log.Warn("waiting for the spool; received records are in memory only until then, and it is tried again", "why", why, "records", held.Records, "bytes", held.Bytes, "err", err)
		}
		wake := ending.Done()
		if over {
			wake = nil
		}
		select {
		case <-time.After(wait):
		case <-wake:
		case <-last.Done():
		}
	}
}
