// Reaper empties the volumes that the instances of a fleet left behind, and deletes those that are proven to be delivered.
//
//	reaper -fleet NAME -at URL [-at URL …] [-config FILE] [-apply] [flags]
//
// It runs on every server, next to the collector. It finds volumes with the tag penstock:fleet = NAME in its availability zone
// that no instance holds, and attaches one to its own instance (if several reapers want it, EC2 lets one of them win). Because
// a reaper has no privileges, the mount service mounts the volume read-only below -orphans: see internal/mounter. The
// collector, whose -adopt names that directory, delivers the records on it. When the collector reports that a volume's spools
// are delivered, an audit of every destination must prove it; only then is the volume deleted. A volume without that proof is
// kept, with the tags penstock:state = kept and penstock:reason, and is examined again after -retry, or as soon as an operator
// removes the tags.
//
// Without -apply it only reports what it would do. It never makes a file system, and it writes to no volume, but the kernel
// replays the journal of a file system that was not unmounted. It keeps no state, so it may be killed at any moment.
//
// Exit codes: 0 ended by a signal, or -once is done; 1 -once had an error; 2 usage; 4 it cannot work here.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/examples/reaper/internal/mounter"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
)

const (
	exitError  = 1
	exitUsage  = 2
	exitFailed = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
}

// version returns the version of this program's module, which may be a copy of Penstock's.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		return info.Main.Version
	}
	return "unknown"
}

func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	if code, done := command().Common(args, version(), stdout, stderr); done {
		return code
	}
	s, set := newSettings()
	set.SetOutput(stderr)
	set.Usage = func() { command().Help(stderr) }
	err := set.Load(args, environ, "config")
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	s.check(set)
	if err := errors.Join(err, set.Err()); err != nil {
		fmt.Fprintln(stderr, "reaper:", err)
		return exitUsage
	}
	log := s.logger(stderr)
	for _, w := range set.Warnings() {
		log.Warn("reaper: " + w)
	}
	r, done, err := s.open(ctx, log)
	if err != nil {
		log.Error("reaper: it cannot work here; correct what err names", "err", err)
		return exitFailed
	}
	defer done()
	a := newAccount(time.Now, s.apply)
	a.watch(r)
	if s.http != "" {
		stop, err := listenHTTP(s.http, a, log)
		if err != nil {
			log.Error("reaper: it cannot work here; correct what err names", "err", err)
			return exitFailed
		}
		defer stop()
	}
	return s.loop(ctx, r, a)
}

// open connects a reaper with everything that it needs.
func (s *settings) open(ctx context.Context, log *slog.Logger) (_ *Reaper, done func(), err error) {
	var closers []io.Closer
	done = func() {
		for _, c := range closers {
			_ = c.Close() // nothing is written through it
		}
	}
	p := &prover{keys: s.keys, retention: s.retention, log: log}
	for _, u := range s.at {
		d, err := open.Destination(ctx, u, &open.Options{Logger: log})
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("destination: %w", err)
		}
		if c, ok := d.(io.Closer); ok {
			closers = append(closers, c)
		}
		if _, ok := d.(ship.Lister); !ok {
			done()
			return nil, nil, fmt.Errorf("destination: %T cannot list what it holds, so that nothing can be proven there", d)
		}
		p.places = append(p.places, audit.Place{Destination: d})
	}
	c, m, err := connect(ctx, s.fleet)
	if err != nil {
		done()
		return nil, nil, err
	}
	h := newHost()
	orphans, err := filepath.Abs(s.orphans)
	if err != nil {
		done()
		return nil, nil, err
	}
	return &Reaper{
		Instance: c.instance, Fleet: s.fleet, Orphans: orphans, Apply: s.apply, AtOnce: s.atOnce,
		Young: young, Retry: s.retry, Patience: s.patience,
		Lister: c, Attacher: c, Keeper: c, Disks: h, Mounts: mounts{h, mounter.NewClient(s.mount)}, Files: h,
		Leaving: m.leaving, Adoption: newCollector(s.collector).adoption, Prove: p.prove, Pause: pause, Now: time.Now, Log: log,
	}, done, nil
}

// young is Reaper.Young. An instance attaches the volumes of its launch within seconds, and a reaper deletes a proven volume
// within deleteTries * detachPause.
const young = 10 * time.Minute

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// loop makes a pass at every interval.
func (s *settings) loop(ctx context.Context, r *Reaper, a *account) int {
	r.Log.Info("reaper: started", "instance", r.Instance, "fleet", r.Fleet, "apply", r.Apply, "version", version())
	for failures := 0; ; {
		err := r.Pass(ctx)
		a.passed(err)
		switch {
		case ctx.Err() != nil:
			return 0
		case err != nil:
			failures++
			r.Log.Warn("reaper: not everything could be done; it is tried again", "failures", failures, "again_in", s.every, "err", err)
		case failures > 0:
			failures = 0
			r.Log.Info("reaper: everything could be done again")
		}
		if s.once && err != nil {
			return exitError
		}
		if s.once || pause(ctx, s.every) != nil {
			return 0
		}
	}
}
