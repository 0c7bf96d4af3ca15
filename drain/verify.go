package drain

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

// verdict is the result of one run of the phase verify. Each run has its own, so that an abandoned run does not change a
// later report.
type verdict struct {
	classes map[string]map[string]confirmed // class → destination
}

// confirmed is the answer of a destination when it is asked again.
type confirmed struct {
	ship.Verification
	all bool // the destination holds everything, and its chain is closed
}

// verify asks every destination again about everything that is still in the spool, and closes the chains of those that
// have confirmed everything, even if another destination has not. A closed chain takes nothing more. So verify shuts the
// spool first, even for code that appends without an input, and closes no chain until all listeners have ended.
func (r *run) verify(ctx context.Context) error {
	// A destination that does not answer must leave time to close the chains of the others.
	ask, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		ask, cancel = context.WithTimeout(ctx, time.Until(deadline)*6/10)
	}
	defer cancel()
	v := &verdict{classes: map[string]map[string]confirmed{}}
	r.mu.Lock()
	r.verdict = v
	r.mu.Unlock()
	closed := r.closed
	return r.d.each(func(c *class) error {
		asked, err := c.Shipper.Verify(ask)
		var wg sync.WaitGroup
		var mu sync.Mutex // guards what follows
		errs := []error{err}
		found := map[string]confirmed{}
		for dest, answer := range asked {
			// This runs concurrently, because a destination that has failed since must not use up the time of the others.
			wg.Go(func() {
				f := confirmed{Verification: answer}
				var err error
				f.all = answer.Err == nil && len(answer.Mismatches) == 0
				if f.all && closed {
					c.spool.Shelf().Shut()
				}
				// If something is pending, Finalize would wait for it.
				st := c.spool.Stats()
				f.all = f.all && st.Pending[dest].Records == 0 && st.Buffered.Records == 0
				if f.all && closed {
					err = r.d.catch("Shipper.Finalize", func() error { return c.Shipper.Finalize(ctx, dest) })
					f.all = err == nil
				}
				mu.Lock()
				defer mu.Unlock()
				found[dest] = f
				if err != nil {
					errs = append(errs, fmt.Errorf("%s: closing the chain: %w", dest, err))
				}
			})
		}
		wg.Wait()
		r.mu.Lock()
		defer r.mu.Unlock()
		v.classes[c.name] = found
		return errors.Join(errs...)
	})
}

// confirmed returns the results of the phase verify for a class.
func (r *run) confirmed(class string) map[string]confirmed {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verdict == nil {
		return nil
	}
	return maps.Clone(r.verdict.classes[class])
}

// freeze stops the spool from deleting segments, across restarts.
func (c *class) freeze(why string) error {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	c.drained = true
	return c.mark(why)
}

// freezeAgain writes the mark of a freeze that only this process has.
func (c *class) freezeAgain() error {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	if !c.unmarked {
		return nil
	}
	return c.mark(c.spool.Shelf().Frozen())
}

// mark freezes the spool, and notes if the mark could not be written to disk. A spool that other code has closed accepts no
// mark, but deletes nothing either. c.freezing is held.
func (c *class) mark(why string) error {
	err := c.spool.Shelf().Freeze(why)
	c.unmarked = err != nil && !errors.Is(err, spool.ErrClosed)
	return err
}

func (c *class) thaw() error {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	err := c.spool.Shelf().Thaw()
	c.unmarked = c.unmarked && err != nil
	return err
}

// isUnverified reports whether the spool may be the only copy of records that an earlier drain could not verify.
func (c *class) isUnverified() bool {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	return c.unverified
}

// reverifyEvery is how often a spool that an earlier drain has left frozen is verified again.
const reverifyEvery = 10 * time.Minute

// reverify thaws a spool that an earlier drain has left frozen, once every destination has confirmed everything in it.
// Until then the spool deletes nothing, so the operator must repair a destination that does not confirm.
func (c *class) reverify(ctx context.Context, d *Drainer, why string) {
	for {
		if _, err := c.Shipper.Verify(ctx); err == nil {
			c.freezing.Lock()
			c.unverified = false
			if !c.drained { // otherwise a new drain has frozen it again
				err = c.spool.Shelf().Thaw()
			}
			c.freezing.Unlock()
			if err == nil {
				d.o.Logger.Info("drain: verified what an earlier drain had left unverified; the spool deletes delivered segments again", "class", c.name, "why", why)
				return
			}
			d.o.Logger.Error("drain: cannot thaw a spool that is verified, so it deletes nothing and grows; it is tried again: see what the disk reports", "class", c.name, "again_in", reverifyEvery, "err", err)
		} else if ctx.Err() != nil {
			return
		} else {
			d.o.Logger.Error("drain: the spool deletes nothing until every destination confirms what it has acknowledged, so it grows; they are asked again: correct what err names",
				"class", c.name, "why", why, "again_in", reverifyEvery, "err", err)
		}
		if wait.Sleep(ctx, reverifyEvery) != nil {
			return
		}
	}
}
