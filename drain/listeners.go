package drain

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
)

// closer is an Input that can end without waiting for its spool, as the listeners of package ingest can. What it has in
// hand is kept if the disk has room for it; what it could not read in time is counted as lost.
type closer interface{ Close() error }

// closeListeners shuts down the inputs of a class, and returns an error if one has not ended when ctx has.
func closeListeners(ctx context.Context, c *class) error {
	c.spool.Shelf().LastCall() // a full spool must not keep out what has been read already
	return c.eachInput(ctx, func(in Input) error { return in.Shutdown(ctx) })
}

// endListeners ends the inputs that closeListeners could not end, without further waiting. An error says what is lost,
// or names an input that cannot end in this way.
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

// inputGrace is how long an Input may ignore that its context has ended.
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

// closeAll is the phase that closes the inputs. No round follows a Stop: inputs that have not ended in time, most often
// because the spool is full and its destination down, are ended before the phase is over.
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

// leaveListeners is closeListeners for a hand-over. No shipper makes space any more, so the spool takes over its quota
// what the connections still bring. If the disk cannot take that either, it must not keep the successor waiting.
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
		if !st.Full || st.Err != nil { // a disk that fails is waited for: nobody else has what is in memory
			continue
		}
		c.spool.Shelf().LastCall()
		if full += 50 * time.Millisecond; full >= handOverWait {
			cancel()
		}
	}
}
