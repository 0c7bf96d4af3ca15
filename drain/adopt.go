package drain

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

// AdoptOptions configure Adopt. The zero value of every field but Work and Destinations means its documented default.
type AdoptOptions struct {
	// Work is a directory on this host's own disk, for all adoptions: see spool.AdoptOptions. The report of the last
	// attempt is written beside the directory of each spool, as <class>-<spool id>.report.json. Required.
	Work string
	// Destinations by name. Those that the spool does not know are ignored. Every destination that the spool still owes
	// records must be here or in Forget.
	Destinations map[string]ship.Destination
	// Forget names destinations to give up.
	Forget []string
	// Instance names this host in manifests and reports; default the host name.
	Instance string
	// Ship configures how segments that are not staged yet are encoded, and how segments are sent; its zero values mean
	// the defaults of ship.Options. Its Destinations are not used.
	Ship ship.Options
	// StageWorkers is the number of segments that are encoded and compressed at once; default 2.
	StageWorkers int
	// Class, if not nil, may change the copy of Ship that is used for a spool of that class.
	Class func(class string, o *ship.Options)
	// MaxBytes bounds what the adoption stores below Work; default 90 % of its file system.
	MaxBytes int64
	// Timeout bounds this attempt, up to its report; default 24 hours. StallTimeout ends it when nothing has moved for
	// this time; default 10 minutes.
	Timeout      time.Duration
	StallTimeout time.Duration
	// Update, if not nil, is called about once a second during the adoption.
	Update func(Status)

	Logger *slog.Logger // nil discards
}

// Adopt delivers the spool that another process has left in dir, for example on the volume of a terminated instance,
// which may be mounted read-only. It takes the spool over (spool.Adopt, ship.Shipper.Claim), drains it as a Drainer does,
// asks every destination to confirm everything, closes the chains, writes the report, and then marks dir. It writes
// nothing else there. A later attempt, on this or another host, continues an unfinished one without loss or duplicates.
//
// The Outcome of the report says whether everything is delivered. An error without a report means that nothing was
// delivered: spool.ErrAdopted if dir is marked, spool.ErrLocked if a process on this host has it open, fs.ErrNotExist if it
// holds no spool, ship.ErrFenced if another adopter is at work (try again after ship.Options.OwnerTimeout),
// spool.ErrPending if a destination is missing. An error with a report means that another adopter has fenced this one
// meanwhile, or that dir could not be marked although everything is delivered, as on a read-only mount: then a later
// attempt verifies everything again.
func Adopt(ctx context.Context, dir string, o *AdoptOptions) (*Report, error) {
	var a adopter
	if o != nil {
		a.o = *o
	}
	a.o.Logger = steadylog.Wrap(a.o.Logger)
	if a.o.Timeout == 0 {
		a.o.Timeout = 24 * time.Hour
	}
	if a.o.StallTimeout == 0 {
		a.o.StallTimeout = 10 * time.Minute
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	if a.o.Work == "" || len(a.o.Destinations) == 0 || a.o.Timeout < 0 || a.o.StallTimeout < 0 {
		return nil, errors.New("drain: AdoptOptions need Work, Destinations, and no negative times")
	}
	ctx, cancel := context.WithTimeout(ctx, a.o.Timeout)
	defer cancel()
	if err := a.open(dir); err != nil {
		return nil, fmt.Errorf("drain: adopt %s: %w", dir, err)
	}
	if err := a.claim(ctx); err != nil {
		return nil, fmt.Errorf("drain: adopt %s: %w", dir, errors.Join(err, a.spool.Close()))
	}
	return a.drain(ctx, dir)
}

// adopter is an Adopt in progress.
type adopter struct {
	o       AdoptOptions
	spool   *spool.Spool
	shipper *ship.Shipper
	marked  error // the error of MarkAdopted, set by Finish
}

// open takes the spool over, and makes its shipper.
func (a *adopter) open(dir string) (err error) {
	a.spool, err = spool.Adopt(dir, &spool.AdoptOptions{
		Work: a.o.Work, Instance: a.o.Instance, Destinations: slices.Sorted(maps.Keys(a.o.Destinations)), Forget: a.o.Forget,
		MaxBytes: a.o.MaxBytes, StageWorkers: a.o.StageWorkers, Logger: a.o.Logger,
	})
	if err != nil {
		return err
	}
	st, so := a.spool.Stats(), a.o.Ship
	if a.o.Class != nil {
		err := foreign.Catch("AdoptOptions.Class", func() error { a.o.Class(st.Class, &so); return nil })
		if err != nil {
			return errors.Join(err, a.spool.Close())
		}
	}
	so.Destinations = map[string]ship.Destination{}
	for name := range st.Pending {
		so.Destinations[name] = a.o.Destinations[name]
	}
	if a.shipper, err = ship.New(a.spool, &so); err != nil {
		return errors.Join(err, a.spool.Close())
	}
	return nil
}

// claim claims the spool. After StallTimeout or a quarter of Timeout, whichever is shorter, it stops waiting, without an
// error. The shipper then continues to try, and the report names a destination that cannot be reached.
func (a *adopter) claim(ctx context.Context) error {
	short, cancel := context.WithTimeout(ctx, min(a.o.StallTimeout, a.o.Timeout/4))
	defer cancel()
	err := a.shipper.Claim(short)
	if short.Err() != nil && ctx.Err() == nil && !errors.Is(err, ship.ErrFenced) {
		return nil
	}
	return err
}

// drain drains the spool by a Drainer with one class without inputs.
func (a *adopter) drain(ctx context.Context, dir string) (*Report, error) {
	st := a.spool.Stats()
	work := filepath.Join(a.o.Work, st.Class+"-"+st.Spool)
	deadline, _ := ctx.Deadline()
	d, err := New(&Options{
		Dir: work, ReportFile: work + ".report.json", Timeout: max(time.Second, time.Until(deadline)), StallTimeout: a.o.StallTimeout,
		Instance: a.o.Instance, Lifecycles: []Lifecycle{a}, Logger: a.o.Logger.With("adopting", dir),
	})
	if err == nil {
		err = d.Add(Class{Shipper: a.shipper})
	}
	if err != nil {
		return nil, errors.Join(err, a.spool.Close())
	}
	report, err := d.Drain(ctx, "adoption of "+dir)
	for dest, s := range a.shipper.Stats() {
		if s.State == ship.StateFenced {
			err = errors.Join(err, fmt.Errorf("drain: adopt %s: %s: %w", dir, dest, s.Err))
		}
	}
	return report, errors.Join(err, a.marked)
}

var _ Lifecycle = (*adopter)(nil)

// Notice reports that no platform takes anything away.
func (a *adopter) Notice(context.Context) (Notice, bool, error) { return Notice{}, false, nil }

// Update passes p on.
func (a *adopter) Update(_ context.Context, p Status) {
	if a.o.Update != nil {
		a.o.Update(p)
	}
}

// Finish marks the source: the report is written by now, and the spool is still open.
func (a *adopter) Finish(_ context.Context, r *Report) (retained bool, err error) {
	if r.Outcome == Delivered {
		a.marked = a.spool.Shelf().MarkAdopted()
	}
	return false, a.marked
}
