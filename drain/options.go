package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/ship"
)

// Intent is how a process ends.
type Intent string

const (
	// Stop seals and keeps the spools, for a restart. It is fast.
	Stop Intent = "stop"
	// Drain empties the spools, for a scale-in.
	Drain Intent = "drain"
)

// Input brings records into the spool of a class until it is shut down. Every ingest.Listener is one.
type Input interface {
	// Shutdown ends the Input when everything that it has received is in the spool or accounted for as lost. If ctx ends
	// first, it returns an error, and may be called again.
	Shutdown(ctx context.Context) error
}

// receiver is an Input that can report why it cannot receive, as the listeners of package ingest can; Ready returns nil if
// it can receive. A class with an Input that cannot receive is not ready.
type receiver interface{ Ready() error }

// Class is one isolated kind of traffic, with its own spool. Its name is that of the spool (spool.Options.Class).
type Class struct {
	// Shipper delivers the records of the class from its spool (ship.Shipper.Spool). Required.
	Shipper *ship.Shipper
	// Inputs fill that spool. Code that appends without an Input must stop in Options.Before: shortly before a drain is
	// complete, the spool refuses further records (spool.Shelf.Shut).
	Inputs []Input
}

// Step is a step of the program's own at the end of the process. A step that fails or panics is logged and named in the
// report; the others still run.
type Step struct {
	Name string
	Run  func(ctx context.Context) error
}

// Options configure a Drainer. Zero values mean the documented defaults.
type Options struct {
	// Dir holds the report and the journal of the phases; usually the directory above the spools. Required.
	Dir string
	// ReportFile is where the report is written; default Dir/report.json.
	ReportFile string
	// OnSignal is what the first SIGTERM or SIGINT starts; default Stop.
	OnSignal Intent
	// Timeout of a Drain, from its trigger to its report; default 10 minutes.
	Timeout time.Duration
	// StopTimeout is the same for a Stop; default 30 s.
	StopTimeout time.Duration
	// Grace is the time that the platform allows between its signal or notice and the kill: a pod's
	// terminationGracePeriodSeconds, a container's stopTimeout. Timeout and StopTimeout are shortened to it, less a
	// sixth or five seconds, whichever is less, so that the report is written before the kill. Default 0: no limit.
	Grace time.Duration
	// Reserve is the part of the timeout that only Verify and Report may use; default a tenth of it, at most 30 s.
	Reserve time.Duration
	// Quiesce: after a platform's notice, inputs stay open until no record has arrived for this time. Load balancers
	// continue to deliver to a target that is being removed; Amazon's NLB keeps a UDP flow for 120 s. Default 130 s,
	// negative none. Signals do not wait.
	Quiesce time.Duration
	// QuiesceMax ends that wait; default 300 s, or Quiesce if that is longer. The wait never takes more than half of
	// the time that is left.
	QuiesceMax time.Duration
	// StallTimeout ends a Stop or Drain in which nothing has moved for this time; default 10 minutes. Quiescing counts
	// as moving.
	StallTimeout time.Duration
	// Adoptions are the spools of other instances that this process delivers; default none.
	Adoptions Adoptions
	// Lifecycles are the platforms that take part; nil entries are ignored.
	Lifecycles []Lifecycle
	// Instance names this instance in reports; default the host name.
	Instance string
	// Before runs in announce, in order, before the inputs close; After runs when the spools are closed. Each step may
	// use an equal share of the time that is left for it and the later steps; a step that exceeds its share is abandoned.
	Before, After []Step
	// Hooks are notified of the phases: see Hook.
	Hooks []Hook
	// Logger; nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.ReportFile == "" {
		d.ReportFile = filepath.Join(d.Dir, "report.json")
	}
	if d.OnSignal == "" {
		d.OnSignal = Stop
	}
	if d.Timeout == 0 {
		d.Timeout = 10 * time.Minute
	}
	if d.StopTimeout == 0 {
		d.StopTimeout = 30 * time.Second
	}
	if d.Grace > 0 {
		most := d.Grace - min(d.Grace/6, 5*time.Second)
		d.Timeout, d.StopTimeout = min(d.Timeout, most), min(d.StopTimeout, most)
	}
	if d.Reserve == 0 {
		d.Reserve = min(d.Timeout/10, 30*time.Second)
	}
	if d.Quiesce == 0 {
		d.Quiesce = 130 * time.Second
	}
	if d.QuiesceMax == 0 {
		d.QuiesceMax = max(300*time.Second, d.Quiesce)
	}
	if d.StallTimeout == 0 {
		d.StallTimeout = 10 * time.Minute
	}
	if d.Instance == "" {
		d.Instance, _ = os.Hostname()
	}
	d.Logger = steadylog.Wrap(d.Logger)
	return d
}

func (o *Options) validate() error {
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf("drain: "+format, a...)) }
	if o.Dir == "" {
		bad("Options.Dir is empty: name the directory above the spools")
	}
	if o.OnSignal != Stop && o.OnSignal != Drain {
		bad("Options.OnSignal is %q: use drain.Stop or drain.Drain", o.OnSignal)
	}
	if o.QuiesceMax < 0 || o.StallTimeout < 0 {
		bad("negative QuiesceMax or StallTimeout")
	}
	if o.Timeout < 0 || o.StopTimeout < 0 || o.Reserve < 0 || o.Grace < 0 {
		bad("negative timeout")
	}
	if o.Reserve >= o.Timeout {
		bad("Options.Reserve (%v) leaves nothing of Options.Timeout (%v)", o.Reserve, o.Timeout)
	}
	return errors.Join(append(errs, o.checkForeign()...)...)
}
