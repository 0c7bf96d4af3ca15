package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

// The phases outside of a Stop or Drain.
const (
	// PhaseRun is the phase in a Status before the end begins.
	PhaseRun = "run"
	// PhaseHandOver is the phase of a HandOver.
	PhaseHandOver = "hand_over"
)

// The phases, as they are named in the report, the journal and Status.
const (
	phaseAnnounce = "announce"
	phaseQuiesce  = "quiesce"
	phaseClose    = "close"
	phaseSeal     = "seal"
	phaseShip     = "ship"
	phaseVerify   = "verify"
	phaseReport   = "report"
	phaseFinish   = "finish"
	phaseRetained = "retained" // waiting for the next round on an instance that the platform has retained
)

// Phases returns the phases of an end with this intent, in their order. A Drain has quiesce only if a platform's notice has
// begun it.
func (i Intent) Phases() []string {
	switch i {
	case Stop:
		return []string{phaseAnnounce, phaseClose, phaseSeal, phaseReport, phaseFinish}
	case Drain:
		return []string{phaseAnnounce, phaseQuiesce, phaseClose, phaseSeal, phaseShip, phaseVerify, phaseReport, phaseFinish}
	}
	return nil
}

// cause is why and how the process ends.
type cause struct {
	intent  Intent
	trigger string
	notice  *Notice // of the platform, nil if it was another cause
	ask     bool    // ask the platforms whether one of them takes the instance away
	resumed bool    // an interrupted drain, or one at a start: quiesce is skipped
}

// run is a Stop or Drain in progress.
type run struct {
	d       *Drainer
	cause   cause
	log     *slog.Logger
	began   time.Time                         // report.Started on the monotonic clock too
	before  map[string]map[string]deliveredBy // delivered by then
	lost    map[string]segment.Losses         // lost by then
	hung    bool                              // the journal cannot be written: do not wait for it again
	closed  bool                              // the listeners have ended
	closing bool                              // amend has ended the listeners
	said    string                            // the essence of the report that was logged last
	adopted bool                              // the adoptions have ended

	mu      sync.Mutex
	cutAt   time.Time // when a second signal was first noticed
	report  Report
	verdict *verdict  // of the round's Verify
	now     string    // phase
	until   time.Time // deadline of the round
	moved   time.Time // when something last moved
	begun   uint64    // phases so far
	stall   context.CancelCauseFunc
	round0  int // the round's first of report.Phases
}

// deliveredBy is how much a destination had at some time.
type deliveredBy struct {
	segment.Tally
	stored int64
}

// enter sets the phase in the Status for the platforms.
func (r *run) enter(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = name
	r.begun++
	r.d.hooks.notePhase(name, &r.cause)
}

// phase runs one phase, journals it, and records its duration and its error. The phases after a failed one still run.
func (r *run) phase(ctx context.Context, name string, f func(context.Context) error) error {
	r.enter(name)
	if r.cause.intent == Drain && !r.hung {
		err := r.bounded(ctx, time.Second, func() error {
			return writeJournal(r.d.o.Dir, r.d.inodes, journal{Version: 1, Phase: name, Trigger: r.cause.trigger, Started: r.report.Started})
		})
		r.hung = errors.Is(err, errHangs)
		if err != nil {
			r.fail("journal: %w", err)
		}
	}
	r.log.Info("drain: phase begins", "intent", r.cause.intent, "phase", name)
	start := time.Now()
	err := r.bounded(ctx, time.Second, func() error { return f(ctx) })
	p := Phase{Name: name, Seconds: time.Since(start).Seconds()}
	if err != nil {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(err, cause) && cause != ctx.Err() {
			err = fmt.Errorf("%w (%w)", err, cause)
		}
		p.Err = err.Error()
		r.log.Error("drain: phase failed; the later phases run all the same, and the report names it", "phase", name, "err", err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Phases = append(r.report.Phases, p)
	return err
}

// each runs f for every class, outside of the phases, for some seconds; errors are in the report. If the disk of one
// class hangs, that must not use up the time of the others.
func (r *run) each(ctx context.Context, what string, f func(*class) error) {
	short, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := r.bounded(short, 5*time.Second, func() error { return r.d.each(f) }); err != nil {
		r.fail("%s: %w", what, err)
	}
}

// errHangs is the error of a call that ignores its context. The call is abandoned, so that the report can be written.
var errHangs = errors.New("did not end when its time was up; abandoned")

// bounded runs f, and abandons it if it has not ended grace after the end of ctx, since a disk may hang in the kernel.
// After a second signal all such times together are at most cutGrace. An abandoned f goes on: it must not share a variable with what its
// caller does next, without a lock.
func (r *run) bounded(ctx context.Context, grace time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- r.d.catch("", f) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if r.cut(ctx) {
		r.mu.Lock()
		if r.cutAt.IsZero() {
			r.cutAt = time.Now()
		}
		grace = min(grace, max(50*time.Millisecond, cutGrace-time.Since(r.cutAt)))
		r.mu.Unlock()
	}
	err, ended := wait.Receive(context.Background(), grace, done)
	if !ended {
		return errHangs
	}
	return err
}

// cutGrace is well below lastWords, since the report must still be written.
const cutGrace = 700 * time.Millisecond

// errCut is the cause with which a second signal ends ctx.
var errCut = errors.New("cut short by a second signal")

// cut reports whether a second signal, not a deadline, has ended ctx: then there is no time to wait for anything.
func (r *run) cut(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errCut) }

func (r *run) fail(format string, a ...any) {
	err := fmt.Errorf(format, a...)
	r.log.Error("drain: error during the end; the end continues, and the report names it", "err", err)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Errors = append(r.report.Errors, err.Error())
}

// steps returns a function that runs the program's own steps in order.
func (r *run) steps(steps []Step) func(context.Context) error {
	return func(ctx context.Context) error {
		for i, s := range steps {
			// A step that hangs uses up its own share of the time, not that of the later steps.
			share, cancel := ctx, context.CancelFunc(func() {})
			if deadline, ok := ctx.Deadline(); ok {
				share, cancel = context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(steps)-i))
			}
			if err := r.bounded(share, 100*time.Millisecond, func() error { return s.Run(share) }); err != nil {
				r.fail("step %s: %w", cmp.Or(s.Name, "without a name"), err)
			}
			cancel()
		}
		return nil
	}
}

// snapshot returns a copy of the report as it is now, since an abandoned call may still write to r.
func (r *run) snapshot() *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.report
	s.Panics = r.d.panics.Load()
	s.Phases, s.Errors = slices.Clone(s.Phases), slices.Clone(s.Errors)
	return &s
}

// closeTimeout bounds what follows the report.
const closeTimeout = 20 * time.Second
