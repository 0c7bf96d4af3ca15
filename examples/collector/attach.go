package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// attaches moves the records that a successor's Holds have collected into the spools: a class waits until its spool is open
// (see settle), and then for room in it.
//
// When the process begins to end, classes no longer wait for room: Attach puts the remaining records into the spool beyond its
// quota, because they exist nowhere else. They wait for a spool to open until almost no time is left, since the predecessor may
// still be closing it.
type attaches struct {
	ending context.Context // done when the process begins to end
	end    context.CancelFunc
	last   context.Context // done when classes must stop waiting for their spools
	lose   context.CancelFunc

	busy sync.WaitGroup // each class until it is attached, or has lost what it held
}

func newAttaches(ctx context.Context) *attaches {
	a := new(attaches)
	a.ending, a.end = context.WithCancel(ctx)
	a.last, a.lose = context.WithCancel(ctx)
	return a
}

// stop ends the wait for room, and returns when every Hold has passed on its records. It runs before the listeners close,
// because they put their last batch into the Hold, which accepts nothing while it is being attached. In the last fifth of the
// time that ctx leaves, the classes without a spool count their Hold's records as lost.
func (a *attaches) stop(ctx context.Context) error {
	a.end()
	defer a.lose()
	if deadline, ok := ctx.Deadline(); ok {
		defer time.AfterFunc(time.Until(deadline)*4/5, a.lose).Stop()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.busy.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	a.lose() // also after a second signal, which may come before the last fifth: the report must include the losses
	select {
	case <-done:
	case <-time.After(50 * time.Millisecond):
	}
	return ctx.Err()
}

// lastRoom is how long a Hold waits for room once the process is ending: the listeners of all classes wait with it.
const lastRoom = 10 * time.Second

// attach hands the class with its open spool to d, and the Hold's records to the spool. It calls opened before it waits for
// room, because the service must react to signals during that wait. If it returns an error, d has not accepted the class, and
// attach may be called again.
func (cl *class) attach(d *drain.Drainer, opened func()) error {
	err := cl.add(d)
	ending := errors.Is(err, drain.ErrEnding)
	if err != nil && !ending {
		return err
	}
	opened()
	sink := cl.spool.Intake()
	err = cl.hold.Attach(cl.attaches.ending, sink)
	if err != nil && !ending { // the shipper may make room
		last, cancel := context.WithTimeout(cl.attaches.last, lastRoom)
		err = cl.hold.Attach(last, sink)
		cancel()
	}
	if err != nil {
		left := cl.hold.Held()
		// The listeners are still open: what they bring from here on is counted too, and none of them waits.
		err = errors.Join(err, cl.hold.Attach(context.Background(), losing{sink}))
		cl.log.Error("records in memory are lost: the process is ending and the disk has no room", "records", left.Records, "bytes", left.Bytes, "err", err)
	}
	if ending {
		err := errors.Join(cl.shutdown(cl.attaches.last), cl.close())
		cl.log.Warn("class closed because the process is ending: the next start delivers the records in its spool; if err is set, some may be missing there", "err", err)
	}
	return nil
}

// losing counts records as lost in the ledger of a spool that cannot take them. It refuses to append, so that no sender is told
// that a record was kept.
type losing struct{ ingest.Sink }

func (l losing) Append(context.Context, []segment.Record) (last uint64, err error) {
	return 0, errors.New("the process is ending, and the disk has no room")
}

func (l losing) Offer(_ context.Context, batch []segment.Record) (last uint64, err error) {
	var a segment.Account
	lost := &a.Lost[segment.GivenUp]
	for i := range batch {
		lost.Records++
		lost.Bytes += uint64(len(batch[i].Data))
	}
	l.Account(a)
	return 0, nil
}

// shutdown moves everything that the listeners have in memory and in their sockets into the open spool, until ctx ends. It is
// for a class that no Drainer has accepted. No shipper makes room, so a full spool accepts the records beyond its quota.
func (cl *class) shutdown(ctx context.Context) error {
	errs := make([]error, len(cl.listeners))
	var wg sync.WaitGroup
	for i, l := range cl.listeners {
		wg.Go(func() { errs[i] = l.Shutdown(ctx) })
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		cl.spool.Shelf().LastCall()
		select {
		case <-done:
			return errors.Join(errs...)
		case <-tick.C:
		}
	}
}

// loseHeld ends a class whose spool could not be opened. The records in its Hold and in its listeners are lost, and counted as
// lost in the report.
func (cl *class) loseHeld(d *drain.Drainer, cause error) {
	sink := d.LostSink(cl.name)
	err := cl.hold.Attach(context.Background(), sink)
	err = errors.Join(err, cl.close())
	losses := sink.Lost()
	lost := losses.Total()
	cl.log.Error("records in memory are LOST, because the process ends and their spool cannot be opened", "records", lost.Records, "bytes", lost.Bytes, "err", errors.Join(cause, err))
	d.Down(cl.name, fmt.Errorf("its spool could not be opened after the hand-over: %w", cause))
}
