package drain

import (
	"context"
	"time"
)

// quiesce keeps the inputs open until no record has arrived for Options.Quiesce: a load balancer continues to deliver to
// a target that it removes. It reads arrivals from the ledgers, so that it does not matter which code received them.
func (r *run) quiesce(ctx context.Context) error {
	o := &r.d.o
	ctx, cancel := context.WithTimeout(ctx, o.QuiesceMax)
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	seen, since := r.received(), time.Now()
	refusing := map[string]bool{}
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			r.log.Warn("drain: records still arrived when QuiesceMax was over; closing the inputs, so senders must go to another instance from now on", "quiet_for", time.Since(since))
			return nil
		}
		if n := r.received(); n != seen {
			seen, since = n, time.Now()
		}
		if time.Since(since) >= o.Quiesce {
			return nil
		}
		r.makeRoom(refusing)
	}
}

// makeRoom thaws full spools: deleting segments that every destination has confirmed is better than refusing new records. It
// does not thaw a spool that an earlier drain could not verify, because that spool may have the only copy of records that a
// destination has lost since. refusing has the classes for which that was logged.
func (r *run) makeRoom(refusing map[string]bool) {
	for _, c := range r.d.all() {
		if !c.spool.Stats().Full || c.spool.Shelf().Frozen() == "" {
			continue
		}
		if c.isUnverified() {
			if !refusing[c.name] {
				refusing[c.name] = true
				r.log.Error("drain: the spool is full and was left frozen by a drain that could not verify it, so records are refused: send to another instance, and repair the objects in that drain's report", "class", c.name)
			}
			continue
		}
		r.log.Warn("drain: the spool is full while records arrive; deleting delivered segments, which are not verified once more; everything was verified when it was delivered", "class", c.name)
		if err := c.thaw(); err != nil {
			r.fail("class %s: %w", c.name, err)
		}
	}
}

// received returns how many records have reached this process, including lost ones.
func (r *run) received() (n uint64) {
	for _, c := range r.d.all() {
		n += c.spool.Ledger().Received.Records
	}
	return n
}
