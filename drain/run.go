package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// run is one Stop or Drain on its way.
type run struct {
	d      *Drainer
	intent Intent
	log    *slog.Logger

	mu       sync.Mutex
	report   Report
	verified map[string]map[string]bool // class → destination
	mismatch bool
	release  func() // lets the spools delete again
}

// do goes through the phases. ctx ends them early (a second signal); the report is written in any case.
func (r *run) do(ctx context.Context) (*Report, error) {
	o := &r.d.o
	timeout := o.StopTimeout
	if r.intent == Drain {
		timeout = o.Timeout
	}
	deadline := r.report.Started.Add(timeout)
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	// Only Verify and Report may use the reserve: an unfinished phase before them must not cost the truth about it.
	body, cancelBody := context.WithDeadline(ctx, deadline.Add(-min(o.Reserve, timeout/2)))
	defer cancelBody()

	r.phase(body, "announce", r.steps(o.Before))
	r.phase(body, "close", func(ctx context.Context) error {
		return r.d.each(func(c *class) error { return closeListeners(ctx, c) })
	})
	r.release = func() {}
	if r.intent == Drain {
		r.release = r.hold()
	}
	r.phase(body, "seal", func(ctx context.Context) error {
		return r.d.each(func(c *class) error { return c.Spool.Seal(ctx) })
	})
	if r.intent == Drain {
		r.phase(body, "ship", func(ctx context.Context) error {
			return r.d.each(func(c *class) error { c.Shipper.ResetBackoff(); return c.Shipper.Flush(ctx) })
		})
		r.phase(ctx, "verify", r.verify)
	}
	return r.finish(ctx)
}

// phase runs one phase, journals it, and records what it took. The phases behind a failed one still run.
func (r *run) phase(ctx context.Context, name string, f func(context.Context) error) {
	if r.intent == Drain {
		if err := writeJournal(r.d.o.Dir, journal{Version: 1, Phase: name, Trigger: r.report.Trigger, Started: r.report.Started}); err != nil {
			r.fail("journal: %w", err)
		}
	}
	r.log.Info("phase begins", "phase", name)
	start := time.Now()
	err := guard(func() error { return f(ctx) })
	p := Phase{Name: name, Seconds: time.Since(start).Seconds()}
	if err != nil {
		p.Err = err.Error()
		r.log.Error("phase failed", "phase", name, "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Phases = append(r.report.Phases, p)
}

func (r *run) fail(format string, a ...any) {
	err := fmt.Errorf(format, a...)
	r.log.Error("shutdown", "err", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Errors = append(r.report.Errors, err.Error())
}

// steps runs the user's own steps in order, each guarded.
func (r *run) steps(steps []Step) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, s := range steps {
			if err := guard(func() error { return s.Run(ctx) }); err != nil {
				r.fail("step %s: %w", s.Name, err)
			}
		}
		return nil
	}
}

// hold keeps every spool from deleting: Verify asks about what is still here and can put again what is missing.
func (r *run) hold() (release func()) {
	r.d.mu.Lock()
	defer r.d.mu.Unlock()
	var releases []func()
	for _, c := range r.d.classes {
		releases = append(releases, c.Spool.Hold())
	}
	return func() {
		for _, f := range releases {
			f()
		}
	}
}

func closeListeners(ctx context.Context, c *class) error {
	errs := make([]error, len(c.Listeners))
	var wg sync.WaitGroup
	for i, l := range c.Listeners {
		wg.Go(func() { errs[i] = guard(func() error { return l.Shutdown(ctx) }) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
