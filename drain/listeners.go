package drain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
)

// closer is an Input that can end without waiting for its spool, as the listeners of package ingest can. Records that it
// has in hand are kept if the disk has room; data that it could not read in time is counted as lost.
type closer interface{ Close() error }

// closeListeners shuts down the inputs of a class, and returns an error if one of them has not ended before ctx.
func closeListeners(ctx context.Context, c *class) error {
	c.spool.Shelf().LastCall() // even a full spool must take records that were read already
	return c.eachInput(ctx, func(in Input) error { return in.Shutdown(ctx) })
}

// endListeners ends the inputs that closeListeners could not end, without further waiting. Its error names what is lost,
// or an input that cannot end in this way.
func endListeners(ctx context.Context, c *class) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endTimeout)
	defer cancel()
	return c.eachInput(ctx, func(in Input) error {
		var err error
		if cl, ok := in.(closer); ok {
			err = cl.Close()
		}
		return errors.Join(err, in.Shutdown(ctx))
	})
}

// endTimeout bounds the end of an input that no longer waits.
const endTimeout = 2 * time.Second

// inputGrace is how long an Input may continue after its context has ended.
const inputGrace = time.Second / 2

// eachInput calls f for every input at the same time. An input that ignores ctx is abandoned.
func (c *class) eachInput(ctx context.Context, f func(Input) error) error {
	errs := make([]error, len(c.Inputs))
	var wg sync.WaitGroup
	for i, l := range c.Inputs {
		wg.Go(func() {
			_, err := foreign.Call(ctx, inputGrace, fmt.Sprintf("Inputs[%d] (%T)", i, l), func() (struct{}, error) { return struct{}{}, f(l) })
			errs[i] = c.d.notePanic(err)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// closeAll runs the phase close. A Stop has no second attempt: so before the phase is over, it ends inputs that have not
// ended in time, most often because the spool is full and its destination down.
func (r *run) closeAll(ctx context.Context) error {
	bounded := ctx
	if deadline, ok := ctx.Deadline(); ok && r.cause.intent == Stop {
		left := time.Until(deadline)
		var cancel context.CancelFunc
		bounded, cancel = context.WithTimeout(ctx, left-min(left/4, endTimeout))
		defer cancel()
	}
	return r.d.each(func(c *class) error {
		err := closeListeners(bounded, c)
		if err != nil && r.cause.intent == Stop {
			r.log.Warn("drain: listeners did not end in time; keeping the records that they have in hand, so nothing is lost", "class", c.name, "err", err)
			return endListeners(ctx, c)
		}
		return err
	})
}

// handOverWait is how long a predecessor waits for space in a spool that no shipper empties any more.
const handOverWait = 10 * time.Second

// leaveListeners is closeListeners for a hand-over. No shipper frees space any more, so the spool takes what the
// connections still deliver even over its quota. If the disk is full too, the successor must not wait for it.
func (c *class) leaveListeners(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- closeListeners(ctx, c) }()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for full := time.Duration(0); ; {
		select {
		case err := <-done:
			if err != nil {
				err = errors.Join(err, endListeners(ctx, c))
			}
			return err
		case <-tick.C:
		}
		st := c.spool.Stats()
		if !st.Full || st.Err != nil { // wait for a failing disk: only this process has the records in its memory
			continue
		}
		c.spool.Shelf().LastCall()
		if full += 50 * time.Millisecond; full >= handOverWait {
			cancel()
		}
	}
}
