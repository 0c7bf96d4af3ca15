package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/segment"
)

// maxLeft bounds the leftovers listed per class and destination; the counts are complete in any case.
const maxLeft = 1000

// verify asks every destination afresh about everything that is still here, and closes the chains of those that have
// confirmed everything, even if another could not.
func (r *run) verify(ctx context.Context) error {
	// A destination that does not answer must leave time to close the chains of the others, and for the report.
	ask, cancel := ctx, context.CancelFunc(func() {})
	if deadline, ok := ctx.Deadline(); ok {
		ask, cancel = context.WithTimeout(ctx, time.Until(deadline)*6/10)
	}
	defer cancel()
	return r.d.each(func(c *class) error {
		found, err := c.Shipper.Verify(ask)
		errs := []error{err}
		good := map[string]bool{}
		for dest, v := range found {
			if v.Err != nil || len(v.Mismatches) > 0 {
				r.mu.Lock()
				r.mismatch = r.mismatch || len(v.Mismatches) > 0
				r.mu.Unlock()
				continue
			}
			if c.Shipper.Stats()[dest].Pending.Records > 0 {
				continue // Finalize would wait for it, and with it every chain that can be closed
			}
			if err := c.Shipper.Finalize(ctx, dest); err != nil {
				errs = append(errs, fmt.Errorf("%s: closing the chain: %w", dest, err))
				continue
			}
			good[dest] = true
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.verified[c.Name] = good
		return errors.Join(errs...)
	})
}

// finish judges, writes the report wherever it can, ends the shippers and closes the spools.
func (r *run) finish(ctx context.Context) (*Report, error) {
	r.balance()
	r.judge()
	r.report.Ended = time.Now().UTC()
	err := r.write()
	if r.intent == Drain {
		r.send(ctx)
	}
	r.release()
	r.d.halt()
	// A fresh bounded context: the cut that ended the phases must not keep the spools from being closed cleanly.
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWords/2)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- r.d.each(func(c *class) error { <-c.done; return c.Spool.Close() }) }()
	select {
	case e := <-closed:
		if e != nil {
			r.log.Error("closing the spools", "err", e)
		}
	case <-last.Done():
		if r.cut(ctx) {
			r.log.Error("the spools do not close in time; the next start recovers them")
		} else if e := <-closed; e != nil {
			r.log.Error("closing the spools", "err", e)
		}
	}
	r.steps(r.d.o.After)(last)
	return &r.report, err
}

// cut reports whether a second signal, not the deadline, has ended ctx: then there is no time left to wait for anything.
func (r *run) cut(ctx context.Context) bool { return errors.Is(ctx.Err(), context.Canceled) }

// balance fills in the counts of every class from its ledger, and what each destination lacks.
func (r *run) balance() {
	r.d.mu.Lock()
	classes, down := r.d.classes, maps.Clone(r.d.down)
	r.d.mu.Unlock()
	for _, c := range classes {
		var cr ClassReport
		var left []Leftover
		if err := guard(func() error { cr, left = r.classBalance(c); return nil }); err != nil {
			cr.Err = err.Error()
		}
		if err := down[c.Name]; err != nil && cr.Err == "" {
			cr.Err = err.Error()
		}
		r.report.Classes[c.Name] = cr
		r.report.Left = append(r.report.Left, left...)
	}
	for name, err := range down {
		if _, ok := r.report.Classes[name]; !ok {
			r.report.Classes[name] = ClassReport{Err: "not running: " + err.Error()}
		}
	}
}

func (r *run) classBalance(c *class) (ClassReport, []Leftover) {
	l, st, ss := c.Spool.Ledger(), c.Spool.Stats(), c.Shipper.Stats()
	cr := ClassReport{
		Spool: st.SpoolID, Epoch: st.Epoch,
		Received: l.Received, Kept: l.Kept, Lost: l.Lost, Buffered: st.Buffered, Damaged: l.Damaged, Unaccounted: l.Unaccounted,
		Destinations: map[string]DestinationReport{},
	}
	if err := l.Balance(); err != nil {
		cr.Err = err.Error()
	}
	var left []Leftover
	for _, dest := range slices.Sorted(maps.Keys(ss)) {
		s, d := ss[dest], l.Destinations[dest]
		dr := DestinationReport{Delivered: d.Tally, Pending: pending(l, d.Tally), State: string(s.State), Verified: r.verified[c.Name][dest]}
		if s.Err != nil && s.State != ship.StateOK { // one that is over is of no interest here
			dr.Err = s.Err.Error()
		}
		if s.State == ship.StateConflict {
			r.mismatch = true
		}
		cr.Destinations[dest] = dr
		left = append(left, leftovers(c, dest, cmp.Or(dr.Err, "not delivered yet"))...)
	}
	return cr, left
}

// pending is what a destination is still owed of what was kept and can still be read.
func pending(l segment.Ledger, delivered segment.Tally) segment.Tally {
	return segment.Tally{
		Records: l.Kept.Records - min(l.Kept.Records, delivered.Records+l.Damaged.Records),
		Bytes:   l.Kept.Bytes - min(l.Kept.Bytes, delivered.Bytes+l.Damaged.Bytes),
	}
}

// leftovers lists the sealed segments that a destination's chain does not cover.
func leftovers(c *class, dest, why string) []Leftover {
	chain, err := c.Spool.Chain(dest)
	if err != nil {
		return nil
	}
	var out []Leftover
	for _, s := range c.Spool.Sealed(chain.Segment, maxLeft) {
		if s.Records == 0 {
			continue
		}
		out = append(out, Leftover{
			Class: c.Name, Destination: dest, Segment: s.Number, First: s.First, Last: s.Last,
			Records: s.Records, Bytes: s.Bytes, Where: "spool", Why: why,
		})
	}
	return out
}

// judge decides the outcome. Anything that is not known to be right is not complete.
func (r *run) judge() {
	owed, unverified := false, false
	for _, c := range r.report.Classes {
		owed = owed || c.Buffered.Records > 0 || c.Err != ""
		for _, d := range c.Destinations {
			owed = owed || d.Pending.Records > 0
			unverified = unverified || !d.Verified
		}
	}
	for _, p := range r.report.Phases {
		owed = owed || p.Err != "" && r.intent == Drain
	}
	switch {
	case r.mismatch:
		r.report.Outcome = Mismatch
	case r.intent == Drain && (owed || unverified):
		r.report.Outcome = Incomplete
	case owed:
		r.report.Outcome = Kept
	default:
		r.report.Outcome = Complete
	}
}

// write puts the report on the volume and, with it there, ends the journal: from then on the next start listens again.
func (r *run) write() error {
	if err := vfs.WriteFileAtomic(vfs.OS(), r.d.o.ReportFile, r.report.JSON()); err != nil {
		return fmt.Errorf("drain: writing the report: %w", err)
	}
	r.log.Info("report", "outcome", r.report.Outcome, "file", r.d.o.ReportFile, "left", len(r.report.Left))
	if err := removeJournal(r.d.o.Dir); err != nil {
		return fmt.Errorf("drain: ending the journal: %w", err)
	}
	return nil
}

// send puts the report at every destination that can be reached, best effort and bounded.
func (r *run) send(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body := r.report.JSON()
	err := r.d.each(func(c *class) error {
		st := c.Spool.Stats()
		key := path.Join("_report", c.Name, fmt.Sprintf("%s-%06d-%s.json", st.SpoolID, st.Epoch, r.report.Started.Format("20060102T150405.000Z")))
		return c.Shipper.Publish(ctx, key, "application/json", body)
	})
	if err != nil {
		r.log.Warn("report did not reach every destination", "err", err)
	}
}
