package drain

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
)

// do performs the phases. ctx ends them early (a second signal); the report is written in any case.
func (r *run) do(ctx context.Context) (*Report, error) {
	stop := r.startUpdates(ctx)
	r.before, r.lost = r.delivered(), r.losses()
	began := r.began
	report, err := r.round(ctx, true)
	// The instance may outlive the platform's deadline: then there is time to finish the drain, and the disk still
	// exists.
	retained := r.finishPlatforms(ctx, report)
	for pause := roundEvery; retained && r.cause.intent == Drain && report.Outcome != Delivered && ctx.Err() == nil; pause = min(2*pause, roundMost) {
		r.enter(phaseRetained)
		r.log.Warn("drain: the platform retained the instance; the drain continues; only its last report counts", "outcome", report.Outcome)
		_ = wait.Sleep(ctx, max(time.Second, pause-time.Since(began)))
		began = time.Now()
		if report, err = r.round(ctx, false); report.Outcome == Delivered {
			r.finishPlatforms(ctx, report) // tell a platform that waits for the disk
		}
	}
	stop()
	r.stopAdoptions(ctx)
	r.d.halt()
	if !r.closed {
		report, err = r.amend(ctx)
	}
	r.close(ctx)
	return report, err
}

// roundEvery is the time from one round on a retained instance to the next. It doubles up to roundMost, because each
// round writes a report, to the destinations too.
const (
	roundEvery = time.Minute
	roundMost  = 30 * time.Minute
)

// round runs the phases from announce to report; later rounds only ship and verify.
func (r *run) round(ctx context.Context, first bool) (*Report, error) {
	o := &r.d.o
	deadline, timeout := r.deadline(first)
	// Only verify and report may use the reserve, so that even if an earlier phase uses up its time, the report is
	// written. A quarter of the reserve is for the report alone.
	reserve := min(o.Reserve, timeout/2)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	body, cancelBody := context.WithDeadline(ctx, deadline.Add(-reserve))
	defer cancelBody()
	body, stall := context.WithCancelCause(body)
	defer stall(nil)
	r.mu.Lock()
	r.stall, r.verdict, r.round0, r.until = stall, nil, len(r.report.Phases), deadline
	r.report.Retained = !first || r.cause.notice != nil && r.cause.notice.Retained
	r.mu.Unlock()

	if r.cause.intent == Drain {
		// The freeze is durable, since the process may be killed before the report: see spool.Shelf.Freeze.
		r.each(body, "freezing the spools", func(c *class) error { return c.freeze("a drain has begun and is not verified yet") })
	}
	if r.cause.intent == Stop {
		r.stopAdoptions(half(body)) // the next start continues them
	}
	if first {
		_ = r.phase(half(body), phaseAnnounce, r.steps(o.Before))
		if r.cause.notice != nil && !r.cause.resumed && o.Quiesce > 0 {
			_ = r.phase(half(body), phaseQuiesce, r.quiesce)
			r.each(body, "freezing the spools", func(c *class) error { return c.freeze("a drain has begun and is not verified yet") })
		}
	}
	shipped := r.empty(body)
	if !r.closed && shipped {
		// An input that did not end has most often waited for room in the spool. Now there is room, so it can end, and the
		// records that it appends are delivered too.
		r.empty(body)
	}
	if r.cause.intent == Drain {
		until := deadline.Add(-reserve / 4)
		stalled := func() bool { return context.Cause(body) == errStalled }
		if stalled() {
			until = time.Now().Add(reserve)
		}
		verify, cancel := context.WithDeadline(ctx, until)
		if !stalled() { // verify may stall as well
			context.AfterFunc(body, func() {
				if stalled() {
					cancel()
				}
			})
		}
		_ = r.phase(verify, phaseVerify, r.verify)
		cancel()
	}
	return r.finish(ctx)
}

// empty closes the inputs, seals what they have appended and, in a Drain, ships it. It reports whether everything that is
// sealed has been shipped.
func (r *run) empty(ctx context.Context) (shipped bool) {
	if !r.closed { // an input that has not ended may still have records in hand
		r.closed = r.phase(half(ctx), phaseClose, r.closeAll) == nil
	}
	_ = r.phase(half(ctx), phaseSeal, func(ctx context.Context) error {
		return r.d.each(func(c *class) error { return c.spool.Seal(ctx) })
	})
	if r.cause.intent != Drain {
		return false
	}
	return r.phase(ctx, phaseShip, func(ctx context.Context) error {
		adopted := make(chan error, 1)
		go func() { adopted <- r.awaitAdoptions(ctx) }()
		err := r.d.each(func(c *class) error { c.Shipper.ResetBackoff(); return c.Shipper.Flush(ctx) })
		return errors.Join(err, <-adopted)
	}) == nil
}

// deadline returns when a round must be over, and how much time it has. Setting the wall clock meanwhile changes neither.
func (r *run) deadline(first bool) (time.Time, time.Duration) {
	began, timeout := r.began, r.d.o.StopTimeout
	if !first {
		began = time.Now()
	}
	if r.cause.intent == Drain {
		timeout = r.d.o.Timeout
	}
	if n := r.cause.notice; first && n != nil && !n.Deadline.IsZero() {
		timeout = min(timeout, max(0, n.Deadline.Sub(began)))
	}
	return began.Add(timeout), timeout
}

// half returns a context that ends after half of the remaining time, so that a phase that hangs leaves time for the later
// ones. It ends at the latest with its parent, which is always cancelled.
func half(ctx context.Context) context.Context {
	deadline, _ := ctx.Deadline()
	ctx, cancel := context.WithDeadline(ctx, time.Now().Add(time.Until(deadline)/2))
	context.AfterFunc(ctx, cancel)
	return ctx
}
