// Collector receives log traffic, keeps it on this host's own disk, and delivers it to every destination: the service to
// start from. Its exit codes: 0 drained and verified, or stopped with nothing pending; 3 stopped with data kept; 4 drain
// incomplete, kept records that are damaged and not given up (see collector give-up -h), or records that could not be kept at
// the end; 5 verification mismatch or conflict; 2 usage; 1 anything else.
//
//	collector -spool /var/spool/penstock -http :8080 \
//	  -listen vpn=udp://:5140 -listen vpn=tcp://:5140 -listen web=tcp://:6514?framing=octet \
//	  -dest idc=sftp://ingest@idc.example:22/srv/ingest?key=/etc/penstock/key&known_hosts=/etc/penstock/known_hosts \
//	  -dest s3=s3://bucket/prefix?region=eu-central-1
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
)

func main() { os.Exit(run(os.Args[1:])) }

const (
	exitFailed = 1
	exitUsage  = 2
)

func run(args []string) int {
	if len(args) == 1 && strings.TrimLeft(args[0], "-") == "version" {
		fmt.Println("collector", version())
		return 0
	}
	if len(args) > 0 && args[0] == "give-up" {
		return giveUp(args[1:], os.Stdout, os.Stderr)
	}
	c, err := parseFlags(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\ncollector -h lists the flags\n", err)
		return exitUsage
	}
	log := drain.NonBlocking(slog.New(slog.NewTextHandler(os.Stderr, nil))) // nothing waits for a log that nobody reads
	if c.preStop != "" {
		if err := tellPreStop(c.preStop); err != nil {
			log.Error("collector", "err", err)
			return exitFailed
		}
		return 0
	}
	r, err := serve(c, log)
	if errors.Is(err, drain.ErrHandedOver) {
		return 0
	}
	if err != nil {
		log.Error("collector", "err", err)
		if errors.Is(err, errFlags) {
			return exitUsage
		}
		if r == nil {
			return exitFailed
		}
	}
	summarize(r, os.Stderr)
	return r.ExitCode()
}

// summarize writes the report for people to read. Nobody may be reading w any more, and a pipe that is full would keep the
// process from ending: after two seconds the summary is given up. The report's file has everything.
func summarize(r *drain.Report, w io.Writer) {
	written := make(chan struct{})
	go func() {
		defer close(written)
		_ = r.WriteSummary(w)
	}()
	select {
	case <-written:
	case <-time.After(2 * time.Second):
	}
}

// errFlags marks what only shows when a URL is opened, and is a mistake on the command line all the same.
var errFlags = errors.New("unusable flags")

// serve runs the service until it has ended as the flags and signals say.
func serve(c *config, log *slog.Logger) (*drain.Report, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	sig, stopSignals := drain.Signals(log) // before the first line of the log: nobody may be reading it
	defer stopSignals()
	log.Info("collector", "version", version(), "pid", os.Getpid())
	if c.cpuProfile != "" {
		f, err := os.Create(c.cpuProfile)
		if err != nil {
			return nil, fmt.Errorf("-cpu-profile: %w", err)
		}
		defer f.Close()
		if err := pprof.StartCPUProfile(f); err != nil {
			return nil, fmt.Errorf("-cpu-profile: %w", err)
		}
		defer pprof.StopCPUProfile()
	}

	if c.keyWarning != "" {
		log.Warn("the key of -sign is exposed", "warning", c.keyWarning)
	}
	classes, err := prepare(ctx, c, log)
	if err != nil {
		return nil, err
	}
	files, err := shareDescriptors(c, fileLimit())
	if err != nil {
		return nil, err
	}
	files.log(log)
	opened, holds := &served{}, newAttaches(ctx)
	var names []string
	for _, cl := range classes {
		cl.opened, cl.attaches = opened, holds
		cl.listen.TCP.MaxConns = files.conns
		for _, u := range cl.urls {
			names = append(names, socketName(cl.name, u))
		}
	}
	status := newStatus(files.http, log)
	platforms, preStop, err := lifecycles(c, log)
	if err != nil {
		return nil, err
	}
	orphans := newAdoptions(c, log)
	d, err := drain.New(&drain.Options{
		Dir: c.spoolDir, ReportFile: c.report, OnSignal: c.onTerm, Timeout: c.drainTimeout, Grace: c.grace, Logger: log,
		Lifecycles: platforms, Quiesce: quiet(c.quiesce), StallTimeout: stallTimeout,
		Before: []drain.Step{{Name: "holds", Run: holds.stop}}, Adoptions: orphans,
		After: []drain.Step{{Name: "http", Run: status.Shutdown}},
	})
	if err != nil {
		return nil, err
	}
	for _, cl := range classes {
		d.Down(cl.name, errStarting) // until it is added
	}
	// The configuration is good: the predecessor, if there is one, may pass on its sockets.
	inherited, err := ingest.Inherit()
	if err != nil {
		return nil, err
	}
	if inherited != nil {
		if err := inherited.Take(ctx, append(names, httpName)...); err != nil {
			return nil, err
		}
	}
	trigger, resume, err := drain.Interrupted(c.spoolDir)
	if err != nil {
		return nil, err
	}
	// Asked before a socket opens: an instance that goes takes nothing more.
	if n, goes := d.Terminating(ctx); goes {
		trigger, resume = n.Trigger, true
	}
	var l net.Listener
	if c.http != "" {
		var f *os.File
		if inherited != nil {
			f = inherited.File(httpName)
		}
		if f != nil {
			l, err = net.FileListener(f)
		} else {
			l, err = net.Listen("tcp", c.http)
		}
		if err != nil {
			return nil, fmt.Errorf("-http: %w", explained(err))
		}
		mux := http.NewServeMux()
		mux.Handle("/", d.Handler())
		mux.Handle("GET /adoptions", orphans)
		if preStop != nil {
			mux.Handle("/prestop", preStop)
		}
		status.Handler = mux
		go func() {
			if err := serveStatus(status, l, log); err != nil {
				cancel(fmt.Errorf("-http: %w", err))
			}
		}()
	}

	next := nextSignals()
	handedOver := func() {
		last, stop := context.WithTimeout(context.Background(), stallTimeout)
		defer stop()
		if err := orphans.Stop(last); err != nil {
			log.Warn("hand-over: ending the adoptions", "err", err)
		}
		status.Close()
		cancel(drain.ErrHandedOver)
	}
	if inherited != nil {
		if err := succeed(ctx, inherited, classes, d, sig, log); err != nil {
			return nil, err
		}
		runLeft(ctx, c, d, log)
		orphans.start()
		go handOvers(ctx, next, d, opened, l, log, handedOver)
		return d.RunWith(ctx, sig)
	}

	// Everything is opened before anything is received: what ends the process here has lost nothing. A class that fails in
	// any other way stays down and is retried while the others run.
	var down []*class
	for i, cl := range classes {
		err := cl.start(!resume)
		switch {
		case err == nil:
		case fatal(err):
			for _, other := range classes[:i] {
				err = errors.Join(err, other.close())
			}
			return nil, fmt.Errorf("class %s: %w", cl.name, err)
		default:
			log.Error("class is down and will be retried", "class", cl.name, "err", err)
			d.Down(cl.name, err)
			down = append(down, cl)
		}
	}
	for _, cl := range classes {
		if slices.Contains(down, cl) {
			go cl.retry(ctx, d, !resume)
		} else if err := cl.run(d); err != nil {
			return nil, err
		}
	}
	runLeft(ctx, c, d, log)
	if resume {
		log.Warn("draining what is here; listeners stay closed", "trigger", trigger)
		orphans.start() // what is owed of them holds this instance, too
		return d.Resume(trigger)
	}
	orphans.start()
	go handOvers(ctx, next, d, opened, l, log, handedOver)
	return d.RunWith(ctx, sig)
}

// What readiness says of a class that is not running yet.
var (
	errStarting = errors.New("starting")
	errTakeOver = errors.New("taking over: the predecessor still has the spool, and what comes in is kept in memory")
)

// fatal tells what ends the whole process from what leaves one class down: another process holds the spool, the flags are
// unusable or contradict what the spool remembers, or an address cannot be had.
func fatal(err error) bool {
	var op *net.OpError
	return errors.Is(err, spool.ErrLocked) || errors.Is(err, spool.ErrOwed) || errors.Is(err, errFlags) || errors.As(err, &op)
}

// version is the version of the module that this program was built from, with the commit if the build knew it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
