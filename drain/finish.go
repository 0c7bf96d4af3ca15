package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// finish judges the round, and writes the report to every place that it can reach.
func (r *run) finish(ctx context.Context) (*Report, error) {
	r.enter(phaseReport)
	r.balance(ctx)
	r.judge()
	r.mu.Lock()
	r.report.Ended = time.Now().UTC()
	r.mu.Unlock()
	report := r.snapshot()
	if r.cause.intent == Drain {
		r.thawConfirmed(ctx, report)
		report = r.snapshot()
	}
	lines := ctx
	if !r.cut(ctx) { // a deadline that has passed must not drop a line of the report
		lines = context.WithoutCancel(ctx)
	}
	if said := report.essence(); !r.closing || said != r.said { // in amend, log again only if the report has changed
		r.said = said
		report.log(lines, r.log, r.d.o.ReportFile)
	}
	grace := 5 * time.Second
	if r.cut(ctx) { // allow the report some time of its own
		grace = 0
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 300*time.Millisecond)
		defer cancel()
	}
	written := report // an abandoned write goes on with it
	err := r.bounded(ctx, grace, func() error { return r.write(written) })
	if err != nil {
		err = fmt.Errorf("drain: writing the report to %s: %w", r.d.o.ReportFile, err)
		report = r.unproven(err)
		r.log.Error("drain: cannot write the report to its file; the log has it, and it is published at the destinations: see what the disk reports", "outcome", report.Outcome, "err", err)
	}
	if r.cause.intent == Drain {
		_ = r.bounded(ctx, 0, func() error { r.send(ctx, report); return nil })
	}
	return report, err
}

// unproven returns the report for the case that its file cannot be written. Without the file nothing proves that a drain is
// complete, so the platform must not take the disk.
func (r *run) unproven(err error) *Report {
	r.mu.Lock()
	if r.report.Outcome == Delivered && r.cause.intent == Drain {
		r.report.Outcome = Incomplete
	}
	r.report.Errors = append(r.report.Errors, err.Error())
	r.mu.Unlock()
	return r.snapshot()
}

// thawConfirmed thaws the spools whose readable records are all verified. The others stay frozen, in this process and in
// the next, which logs why.
func (r *run) thawConfirmed(ctx context.Context, report *Report) {
	r.each(ctx, "thawing or freezing the spools", func(c *class) error {
		if cr, ok := report.Classes[c.name]; ok && cr.confirmed() {
			return c.thaw() // damaged files are kept even without a freeze
		}
		return c.freeze("drain of " + report.Started.Format(time.RFC3339) + ": " + string(report.Outcome))
	})
}

// write writes the report to the volume and then removes the journal, so that the next start listens again.
func (r *run) write(report *Report) error {
	if err := writeFile(r.d.inodes, r.d.o.ReportFile, report.JSON()); err != nil {
		return err
	}
	if err := removeJournal(r.d.o.Dir); err != nil {
		return fmt.Errorf("ending the journal: %w", err)
	}
	return nil
}

// send publishes the report at every destination that it can reach in ten seconds.
func (r *run) send(ctx context.Context, report *Report) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	body := report.JSON()
	err := r.d.each(func(c *class) error {
		st := c.spool.Stats()
		key := object.ReportKey(c.name, st.Spool, st.Epoch, report.Ended)
		return c.Shipper.Publish(ctx, key, "application/json", body)
	})
	if err != nil {
		r.log.Warn("drain: the report did not reach every destination; its file on this volume is complete", "err", err)
	}
}

// finishPlatforms tells the platforms how the end went, and returns whether one of them leaves this process the instance
// although the drain is not complete. After a second signal it takes half a second at most; a platform that could not be
// told by then relies on its time-out.
func (r *run) finishPlatforms(ctx context.Context, report *Report) (retained bool) {
	r.enter(phaseFinish)
	cut := r.cut(ctx)
	if cut {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), 500*time.Millisecond)
		defer cancel()
	}
	ctx, cancel := context.WithTimeout(ctx, finishTimeout) // for a platform that hangs
	defer cancel()
	for _, l := range r.d.platforms {
		kept := make(chan bool, 1)
		err := r.bounded(ctx, 100*time.Millisecond, func() error {
			if !cut { // otherwise the time is for Finish
				at, _, _ := r.progress()
				l.tellEnd(ctx, r.d, at)
			}
			retained, err := l.Finish(ctx, report)
			kept <- retained
			return err
		})
		if err != nil {
			r.log.Error("drain: cannot report the result to the platform, which will act on its time-out: check the report before you delete the volume", "err", err)
		}
		select {
		case k := <-kept:
			retained = retained || k
		default:
		}
	}
	return retained
}

// finishTimeout bounds Finish of all platforms together: no platform accepts an answer later.
const finishTimeout = 2 * time.Hour

// amend ends the listeners that still wait for space, since no further round can free any. The spool keeps what they have
// in hand as far as the disk has room, and the rest is lost. Both change the account, so the report is written again.
func (r *run) amend(ctx context.Context) (*Report, error) {
	end, cancel := context.WithTimeout(ctx, 2*endTimeout) // a disk may hang
	defer cancel()
	err := r.bounded(end, 0, func() error {
		return r.d.each(func(c *class) error { return errors.Join(endListeners(ctx, c), c.spool.Seal(end)) })
	})
	if err != nil {
		r.log.Error("drain: cannot end the listeners; what they have in hand may be missing, and the report counts it", "err", err)
	}
	short := ctx
	if !r.cut(ctx) {
		var cancel context.CancelFunc
		short, cancel = context.WithTimeout(ctx, amendTimeout)
		defer cancel()
	}
	r.closing = true
	return r.finish(short)
}

// amendTimeout bounds the second report.
const amendTimeout = 10 * time.Second

// close closes the spools within a bounded time, and runs Options.After.
func (r *run) close(ctx context.Context) {
	_ = r.d.each(func(c *class) error { c.awaitDisk(ctx, r.log); return nil })
	// This context does not end with ctx: a second signal must not prevent the spools from being closed cleanly.
	most := closeTimeout
	if r.cut(ctx) {
		most = 200 * time.Millisecond
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	closed := make(chan error, 1)
	go func() { closed <- r.d.each(func(c *class) error { <-c.done; return c.spool.Close() }) }()
	var err error
	select {
	case err = <-closed:
	case <-last.Done():
		err = errHangs
	}
	if err != nil {
		// Kept records are safe on the disk; the next start recovers them.
		r.log.Error("drain: cannot close the spools cleanly; the next start recovers them, and no kept record is lost: see what the disk reports", "err", err)
	}
	after, cancelAfter := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancelAfter()
	_ = r.steps(r.d.o.After)(after)
	r.d.hooks.end()
}

// awaitDisk waits until everything that must outlive the process is on disk: the records in memory, which closing a spool
// on a failing disk would lose, and the mark of a freeze. Only the end of ctx, which is a second signal, may lose them.
func (c *class) awaitDisk(ctx context.Context, log *slog.Logger) {
	told := false
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		st, err := c.spool.Stats(), c.freezeAgain()
		inMemory := st.Buffered.Records + st.Rewriting.Records
		switch {
		case inMemory == 0 && err == nil:
			return
		case errors.Is(st.Err, spool.ErrClosed): // nothing is written any more
			if inMemory > 0 {
				log.Error("drain: other code has closed the spool while records were in memory only; those are lost: let only the Drainer close it", "class", c.name, "lost", inMemory)
			}
			return
		}
		if pause == time.Second && !told {
			told = true
			log.Error("drain: waiting for the disk: some records are in memory only, or the freeze is not written", "class", c.name, "in_memory_only", inMemory, "err", errors.Join(st.Err, err))
		}
		if wait.Sleep(ctx, pause) != nil {
			return
		}
	}
}
