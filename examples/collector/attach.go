package main

import (
	"context"
	"errors"
	"sync"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool/segment"
)

// attaches are the Holds that are being attached to their spools after a hand-over.
//
// A spool may be full, and a Hold then waits for room. The end of the process ends that wait: Attach puts the remaining records
// into the spool beyond its quota, because they exist nowhere else.
type attaches struct {
	ctx    context.Context
	cancel context.CancelFunc
	busy   sync.RWMutex // read-locked by each attach
}

func newAttaches(ctx context.Context) *attaches {
	a := new(attaches)
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// stop ends the wait for room, and returns when every Hold has passed on its records. It runs before the listeners close: they
// give their last batch to the Hold, which accepts nothing while it is being attached.
func (a *attaches) stop(ctx context.Context) error {
	a.cancel()
	done := make(chan struct{})
	go func() {
		a.busy.Lock()
		defer a.busy.Unlock()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// attach hands the open spool to d, and the records of the Hold to the spool. It calls tried before it waits for room, because
// the process must meanwhile react to signals. With an error d has not accepted the class, and attach may be called again.
func (cl *class) attach(d *drain.Drainer, tried func()) error {
	cl.attaches.busy.RLock() // before add: stop waits for every class that d has accepted
	defer cl.attaches.busy.RUnlock()
	err := cl.add(d)
	ending := errors.Is(err, drain.ErrEnding)
	if err != nil && !ending {
		return err
	}
	tried()
	sink := cl.spool.Intake()
	if err := cl.hold.Attach(cl.attaches.ctx, sink); err != nil {
		left := cl.hold.Held()
		var lost segment.Account
		lost.Lost[segment.GivenUp] = segment.Loss{Records: left.Records, Bytes: left.Bytes}
		sink.Account(lost)
		cl.log.Error("records in memory are lost: the process is ending and the disk has no room", "records", left.Records, "bytes", left.Bytes, "err", err)
	}
	if ending { // the spool was open, so nothing is lost
		cl.log.Warn("class closed, with all of its records in the spool, because the process is ending", "err", cl.close())
	}
	return nil
}
