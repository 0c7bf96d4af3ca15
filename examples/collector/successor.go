package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
)

// succeed takes over from the process that has started this one. An error before Commit ends this process, and the
// predecessor continues. After Commit this process receives into memory until the predecessor has closed the spools.
func (s *service) succeed(ctx context.Context, predecessor *ingest.Inheritance, sig <-chan os.Signal) error {
	for _, cl := range s.classes {
		if err := cl.bind(predecessor); err != nil {
			return fmt.Errorf("class %s: %w", cl.name, err)
		}
	}
	if err := predecessor.Commit(ctx); err != nil {
		return err
	}
	for _, cl := range s.classes {
		cl.spoolOptions.Successor = true
		cl.hold = s.served.hold(cl.spoolOptions.MemoryBytes, predecessor, cl.log)
		s.drainer.Down(cl.name, errTakeOver)
		cl.serve(cl.hold, s.drainer)
	}
	predecessor.Serving()
	var up sync.WaitGroup
	for _, cl := range s.classes {
		up.Add(1)
		go cl.settle(ctx, s.drainer, sig, sync.OnceFunc(up.Done))
	}
	up.Wait()
	s.log.Info("took over from the predecessor; its spools are open here, and its sockets were never closed")
	return nil
}

// settle opens the spool as soon as the predecessor has closed it, and moves there what was received meanwhile (see attach).
// It calls tried when it has the spool, or when something other than the predecessor is in the way, so that the other classes
// need not wait for this one. Two signals, or the end of ctx, end it without a spool.
func (cl *class) settle(ctx context.Context, d *drain.Drainer, sig <-chan os.Signal, tried func()) {
	defer tried()
	var logged time.Time
	for {
		err := cl.openSpool()
		if err == nil {
			err = cl.attach(d, tried)
		}
		if err == nil {
			return
		}
		wait := 20 * time.Millisecond
		if !errors.Is(err, spool.ErrLocked) {
			d.Down(cl.name, err)
			tried()
			wait = time.Second
		}
		held := cl.hold.Held()
		if time.Since(logged) > 10*time.Second {
			logged = time.Now()
			cl.log.Warn("waiting for the spool, which the predecessor is closing; received records are in memory until then, and it is tried again", "records", held.Records, "bytes", held.Bytes, "err", err)
		}
		if len(sig) == cap(sig) || ctx.Err() != nil {
			cl.log.Error("ending without a spool: the records in memory are lost", "records", held.Records, "bytes", held.Bytes, "err", err)
			d.Down(cl.name, fmt.Errorf("%d records that were in memory are lost: %w", held.Records, err)) // the report must not say complete
			return
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
