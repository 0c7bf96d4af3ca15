package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/pprof"
	"slices"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
)

// stallTimeout ends a drain that makes no progress.
const stallTimeout = 10 * time.Minute

// service is the running collector: its classes, and what they share.
type service struct {
	c      *config
	log    *slog.Logger
	cancel context.CancelCauseFunc // ends the process, with the reason

	classes []*class
	left    []*class   // without a listener; set once they have started
	served  *served    // listeners that receive
	holds   *attaches  // records received before there was a spool
	orphans *adoptions // spools that other instances left behind
	status  *http.Server
	socket  net.Listener // of status; nil without -http
	drainer *drain.Drainer
	watch   *status.Watch
	// parent is the process that has started this one to replace it; 0 if there is none.
	parent int
}

// serve runs the service until it ends as the flags and signals say.
func serve(c *config, log *slog.Logger) (*drain.Report, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	hangups := make(chan struct{}, 1)
	sig, stopSignals := drain.Signals(&drain.SignalOptions{Logger: log, Reload: func() { wake(hangups) }}) // before the first line of the log, whose reader may have exited
	defer stopSignals()
	log.Info("collector", "version", version(), "pid", os.Getpid())
	stopProfile, err := startProfile(c.cpuProfile)
	if err != nil {
		return nil, err
	}
	defer stopProfile()

	s, err := newService(ctx, cancel, c, log)
	if err != nil {
		return nil, err
	}
	predecessor, err := s.inherit(ctx) // the configuration is good, so the predecessor may hand over its sockets
	if err != nil {
		return nil, err
	}
	trigger, resume, err := s.unfinishedDrain(ctx) // before a socket opens: an instance that is ending receives nothing more
	if err != nil {
		return nil, err
	}
	if err := s.serveStatus(ctx, predecessor); err != nil {
		return nil, err
	}
	next := nextSignals()
	if predecessor != nil {
		tried, err := s.succeed(ctx, predecessor)
		if err != nil {
			return nil, err
		}
		s.holds.busy.Go(func() { // in the background, so that signals are answered meanwhile
			<-tried
			s.runOthers(ctx) // even if the process is already ending: its report must include them
			go s.requests(ctx, hangups, next)
		})
		return s.drainer.RunWith(ctx, sig)
	}
	if err := s.start(ctx, !resume); err != nil {
		return nil, err
	}
	s.runOthers(ctx)
	if resume {
		log.Warn("draining the spools, because a drain was interrupted or the platform takes this instance away; listeners stay closed", "trigger", trigger)
		return s.drainer.Resume(trigger)
	}
	go s.requests(ctx, hangups, next)
	return s.drainer.RunWith(ctx, sig)
}

// runOthers delivers what other processes left behind: classes without a listener, and spools of other instances. It runs after
// the classes have opened their spools, because a predecessor closes those at the same time as the ones that it leaves behind.
func (s *service) runOthers(ctx context.Context) {
	s.left = runLeft(ctx, s.c, s.drainer, s.log, s.hasPredecessor)
	s.orphans.start() // also for a drain: their pending records keep this instance, too
}

// requests answers the signals that do not end the service, one at a time, until ctx ends: hangups reloads the settings, next hands
// over to a new process.
func (s *service) requests(ctx context.Context, hangups <-chan struct{}, next <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
			s.reloadNow(ctx)
		case <-next:
			if pid, ok := s.handOverNow(ctx); ok {
				s.leave(ctx, pid, hangups)
				return
			}
		}
	}
}

// startProfile begins a CPU profile, unless file is empty.
func startProfile(file string) (stop func(), err error) {
	if file == "" {
		return func() {}, nil
	}
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return nil, fmt.Errorf("-cpu-profile: %w", err)
	}
	if err := pprof.StartCPUProfile(f); err != nil {
		return nil, fmt.Errorf("-cpu-profile: %w", errors.Join(err, f.Close()))
	}
	return func() {
		pprof.StopCPUProfile()
		_ = f.Close() // a reader of a truncated profile gets an error
	}, nil
}

// newService puts everything together that can be checked before a spool or a socket is opened.
func newService(ctx context.Context, cancel context.CancelCauseFunc, c *config, log *slog.Logger) (*service, error) {
	if c.keyWarning != "" {
		log.Warn("the key of -sign is exposed: others on this host can forge manifests; change the mode of the file", "warning", c.keyWarning)
	}
	s := &service{c: c, log: log, cancel: cancel, served: new(served), holds: newAttaches(ctx), orphans: newAdoptions(c, log)}
	var err error
	if s.classes, err = prepare(ctx, c, log); err != nil {
		return nil, err
	}
	files, err := shareDescriptors(c, fileLimit())
	if err != nil {
		return nil, err
	}
	files.log(log)
	for _, cl := range s.classes {
		cl.served, cl.attaches = s.served, s.holds
		cl.listen.TCP.MaxConns = files.conns
	}
	platforms, preStop, err := lifecycles(c, log)
	if err != nil {
		return nil, err
	}
	s.status = newStatus(files.http, log)
	s.drainer, err = drain.New(&drain.Options{
		Dir: c.spoolDir, ReportFile: c.report, OnSignal: c.onTerm, Timeout: c.drainTimeout, Grace: c.grace, Logger: log,
		Lifecycles: platforms, Quiesce: quiet(c.quiesce), StallTimeout: stallTimeout,
		Before: []drain.Step{{Name: "holds", Run: s.holds.stop}}, Adoptions: s.orphans,
		After: []drain.Step{{Name: "http", Run: s.status.Shutdown}},
	})
	if err != nil {
		return nil, err
	}
	if s.watch, err = status.New(&status.Options{Drainer: s.drainer, Program: "collector"}); err != nil {
		return nil, err
	}
	s.status.Handler = s.pages(preStop)
	for _, cl := range s.classes {
		s.drainer.Down(cl.name, errStarting) // until the class is added
	}
	return s, nil
}

// quiet converts -quiesce to the value in drain.Options.
func quiet(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// inherit takes over the sockets of the process that started this one to replace it; nil if there is none.
func (s *service) inherit(ctx context.Context) (*ingest.Inheritance, error) {
	predecessor, err := ingest.Inherit()
	if err != nil || predecessor == nil {
		return nil, err
	}
	s.parent = os.Getppid() // the parent still exists: otherwise it would not answer Take
	names := []string{httpName}
	for _, cl := range s.classes {
		for _, u := range cl.urls {
			names = append(names, socketName(cl.name, u))
		}
	}
	return predecessor, predecessor.Take(ctx, names...)
}

// hasPredecessor reports whether the process that started this one to replace it still exists. When a parent exits, the kernel
// gives its child another parent.
func (s *service) hasPredecessor() bool { return s.parent != 0 && os.Getppid() == s.parent }

// unfinishedDrain reports whether this process must only drain: because an earlier drain was interrupted, or because the
// platform is already terminating the instance.
func (s *service) unfinishedDrain(ctx context.Context) (trigger string, resume bool, err error) {
	trigger, resume, err = drain.Interrupted(s.c.spoolDir)
	if err != nil {
		return "", false, err
	}
	if n, ending := s.drainer.Terminating(ctx); ending {
		return n.Trigger, true, nil
	}
	return trigger, resume, nil
}

// start opens everything before anything is received, so that an error that ends the process here loses nothing. A class whose
// error is not fatal stays down and is retried while the others run.
func (s *service) start(ctx context.Context, listen bool) error {
	var down []*class
	for i, cl := range s.classes {
		err := cl.start(listen)
		switch {
		case err == nil:
		case fatal(err):
			for _, other := range s.classes[:i] {
				err = errors.Join(err, other.close())
			}
			return fmt.Errorf("class %s: %w", cl.name, err)
		default:
			s.log.Error("class is down, so nothing is received for it, and will be retried; the other classes work: correct what err names", "class", cl.name, "err", err)
			s.drainer.Down(cl.name, err)
			down = append(down, cl)
		}
	}
	for _, cl := range s.classes {
		if slices.Contains(down, cl) {
			go cl.retry(ctx, s.drainer, listen)
		} else if err := cl.run(s.drainer); err != nil {
			return err
		}
	}
	return nil
}

// The readiness errors of a class that is not running yet.
var (
	errStarting = errors.New("starting")
	errTakeOver = errors.New("taking over: the predecessor still has the spool, and what arrives is kept in memory")
)

// fatal reports whether an error ends the whole process, instead of leaving one class down: another process holds the spool,
// the flags are unusable or contradict what the spool has recorded, or an address cannot be bound.
func fatal(err error) bool {
	var op *net.OpError
	return errors.Is(err, spool.ErrLocked) || errors.Is(err, spool.ErrPending) || errors.Is(err, errFlags) || errors.As(err, &op)
}
