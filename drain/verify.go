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
)

// verdict is what one Verify has found. It is made anew for each: one that was left behind changes no later report.
type verdict struct {
	classes map[string]map[string]confirmed // class → destination
}

// confirmed is what a destination has said when asked afresh.
type confirmed struct {
	ship.Verification
	all bool // it holds everything, and its chain is closed
}

// verify asks every destination afresh about everything that is still here, and closes the chains of those that have
// confirmed everything, even if another could not. A chain that is closed takes nothing more: so the spool shuts its doors
// before, also to an embedder that goes on appending, and while a listener has not ended no chain is closed.
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
			// Side by side: one that has died since must not use up the time of the others.
			wg.Go(func() {
				f := confirmed{Verification: answer}
				var err error
				f.all = answer.Err == nil && len(answer.Mismatches) == 0
				if f.all && closed {
					c.spool.Shelf().Shut()
				}
				// With something pending Finalize would wait for it, and with it every chain that can be closed.
				st := c.spool.Stats()
				f.all = f.all && st.Pending[dest].Records == 0 && st.Buffered.Records == 0
				if f.all && closed {
					err = catch(func() error { return c.Shipper.Finalize(ctx, dest) })
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

// confirmed returns what Verify has found out about a class.
func (r *run) confirmed(class string) map[string]confirmed {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.verdict == nil {
		return nil
	}
	return maps.Clone(r.verdict.classes[class])
}

// freeze keeps the spool from deleting, across restarts.
func (c *class) freeze(why string) error {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	c.drained = true
	err := c.spool.Shelf().Freeze(why)
	c.unmarked = err != nil
	return err
}

// freezeAgain makes up for a freeze that is in force in this process only.
func (c *class) freezeAgain() error {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	if !c.unmarked {
		return nil
	}
	err := c.spool.Shelf().Freeze(c.spool.Shelf().Frozen())
	c.unmarked = err != nil
	return err
}

func (c *class) thaw() error {
	c.freezing.Lock()
	defer c.freezing.Unlock()
	err := c.spool.Shelf().Thaw()
	c.unmarked = c.unmarked && err != nil
	return err
}

// reverifyEvery is how often a spool is verified again that an earlier drain has left frozen with something wrong.
const reverifyEvery = 10 * time.Minute

// reverify thaws a spool that an earlier drain has left frozen, once every destination has confirmed afresh what is here.
// What is wrong at a destination stays here until somebody has put it right there.
func (c *class) reverify(ctx context.Context, d *Drainer, why string) {
	for {
		if _, err := c.Shipper.Verify(ctx); err == nil {
			c.freezing.Lock()
			if !c.drained { // else the drain that has begun has frozen it anew
				err = c.spool.Shelf().Thaw()
			}
			c.freezing.Unlock()
			if err == nil {
				d.o.Logger.Info("verified what an earlier drain had left unverified", "class", c.name, "why", why)
				return
			}
		} else if ctx.Err() != nil {
			return
		} else {
			d.o.Logger.Error("the spool deletes nothing until every destination confirms what it has acknowledged",
				"class", c.name, "why", why, "again_in", reverifyEvery, "err", err)
		}
		if wait.Sleep(ctx, reverifyEvery) != nil {
			return
		}
	}
}
