package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

// Intent is how a process ends.
type Intent string

const (
	// Stop seals and keeps the spools: a restart. Fast.
	Stop Intent = "stop"
	// Drain empties the spools: a scale-in.
	Drain Intent = "drain"
)

// Listener is what a class's sockets must be able to do. *ingest.UDP and *ingest.TCP are Listeners.
type Listener interface {
	// Shutdown reads the socket empty, hands the records on, accounts what was dropped, and closes it.
	Shutdown(ctx context.Context) error
}

// Class is one isolated kind of traffic.
type Class struct {
	Name      string
	Listeners []Listener
	Spool     *spool.Spool
	Shipper   *ship.Shipper
}

// Step is something of the user's own that takes part in the end of the process. A step that fails or panics is logged
// and named in the report; the others go on.
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
	// OnSignal says what the first SIGTERM or SIGINT does; default Stop.
	OnSignal Intent
	// Timeout of a Drain, from its trigger to its report; default 10 minutes.
	Timeout time.Duration
	// StopTimeout is the same for a Stop; default 30 s.
	StopTimeout time.Duration
	// Reserve is the part of the timeout that only Verify and Report may use; default a tenth of it, at most 30 s.
	Reserve time.Duration
	// Before runs in Announce, in order, before the listeners close; After runs when the report has been written.
	Before, After []Step
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
	if d.Reserve == 0 {
		d.Reserve = min(d.Timeout/10, 30*time.Second)
	}
	if d.Logger == nil {
		d.Logger = slog.New(slog.DiscardHandler)
	}
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
	if o.Timeout < 0 || o.StopTimeout < 0 || o.Reserve < 0 {
		bad("negative timeout")
	}
	if o.Reserve >= o.Timeout {
		bad("Options.Reserve (%v) leaves nothing of Options.Timeout (%v)", o.Reserve, o.Timeout)
	}
	return errors.Join(errs...)
}
