// Udprelay spreads the datagrams of a few senders evenly over many collectors:
//
//	udprelay -listen 10.0.1.10:514 -targets file:/etc/penstock/targets -check http://{host}:8080/readyz
//	udprelay -listen 10.0.1.10:514 -targets asg:collectors:514 -check http://{host}:8080/readyz
//	udprelay -listen 10.0.1.10:514 -mode generations -targets dns:my-nlb.elb.eu-central-1.amazonaws.com:514
//
// All datagrams from one port of a sender are one flow, and a load balancer sends a flow to one target. In the mode spray the
// relay replaces the load balancer: each datagram is sent to the next healthy target. In the mode generations it runs in front
// of the load balancer, and gives each datagram the next of many source ports. See package ingest/udprelay for the modes, the
// two engines and the account.
//
// # What it needs
//
// With the engine nft the kernel forwards. This needs CAP_NET_ADMIN, the program nft, and the sysctl net.ipv4.ip_forward=1 (and
// net.ipv6.conf.all.forwarding=1). Datagrams keep the source addresses of their senders. On AWS, the source/destination check
// of the relay's interface must therefore be off, and the security groups of the targets must admit the senders. Datagrams that
// the relay's own host sends are not spread. If datagrams leave by the interface by which they arrive, set the sysctls
// net.ipv4.conf.all.send_redirects=0 and net.ipv4.conf.INTERFACE.send_redirects=0, so that the kernel does not redirect senders
// to a shorter route.
//
// Where this is not possible, the engine user receives and sends in the process itself. Its datagrams have the relay's source
// address and begin with a PROXY header: the collectors must trust that address (?proxy=v2&trust=ADDR of their listener).
// -engine auto uses nft where possible, and otherwise logs why not.
//
// NetFlow v9 and IPFIX describe their data in templates, which may reach a different collector than the data. Do not spray
// them.
//
// # Restarts
//
// With the engine nft the kernel continues to forward when the process is killed, and the next process takes over the table
// with its counters. A process that ends in order removes the table; -leave keeps it, for a restart without loss. With the
// engine user, give the process a socket that outlives it (-listen fd:NAME, from a systemd socket unit): datagrams are queued
// in it meanwhile. A kill can then lose the datagrams in the process's memory, at most one batch of 64 for each socket, which
// no account includes. The account of the next process begins at zero, except for the drops of the socket's queue since the
// socket was made, which each process counts again.
//
// In the mode generations the engine user needs a file descriptor for each source port, and raises its soft limit to the hard
// limit. If that is not enough for -ports, it refuses to start and names both numbers.
//
// Its exit codes:
//
//	0  ended in order
//	1  failed
//	2  usage
//
// # The way through the files
//
// main.go is the life of the process. settings.go defines the settings and checks them. source.go and asg.go find the targets,
// health.go checks which of them are healthy, and watch.go keeps the engine's targets up to date. status.go serves the state,
// and metrics.go the metrics.
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
	"runtime/debug"
	"sync"
	"syscall"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest/udprelay"
)

const (
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if code, done := command().Common(args, version(), stdout, stderr); done {
		return code
	}
	s, err := parse(ctx, args, os.Environ())
	if errors.Is(err, flag.ErrHelp) {
		command().Help(stdout)
		return 0
	}
	if err != nil {
		fmt.Fprintf(stderr, "%v\nudprelay -h lists the flags\n", err)
		return exitUsage
	}
	log := newLog(stderr, s.logLevel, s.logFormat)
	for _, w := range s.set.Warnings() {
		log.Warn("udprelay: a variable of the environment is ignored: correct its name, or remove it", "warning", w)
	}
	if err := serve(ctx, s, log); err != nil {
		log.Error("udprelay: exiting after an error; see err", "err", err)
		return exitFailed
	}
	return 0
}

// serve runs the relay until ctx ends.
func serve(ctx context.Context, s *settings, log *slog.Logger) error {
	s.engineOptions.Logger = log
	engine, name, err := open(ctx, s, log)
	if err != nil {
		return err
	}
	w := newWatch(s, engine, name, log)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	if s.http != "" {
		stop, err := listenHTTP(s.http, w, log)
		if err != nil {
			cancel()
			return errors.Join(err, engine.Run(ctx)) // Run ends at once, and closes the engine
		}
		defer stop()
	}
	wg.Go(func() { w.run(ctx) })
	defer cancel()
	log.Info("udprelay: started", "mode", s.engineOptions.Mode.String(), "engine", name, "version", version())
	return engine.Run(ctx)
}

// open opens the engine that the settings name.
func open(ctx context.Context, s *settings, log *slog.Logger) (udprelay.Engine, string, error) {
	if s.engine != "user" {
		n, err := udprelay.NewNFT(ctx, &s.engineOptions)
		// A temporary error is no reason for the other engine: the table of an earlier process may still forward to that
		// process's targets.
		if err == nil || s.engine == "nft" || !errors.Is(err, udprelay.ErrUnusable) {
			return n, "nft", err
		}
		log.Warn("udprelay: the kernel cannot forward, so this process does, which costs more CPU time", "why", err)
	}
	u, err := udprelay.NewUser(&s.engineOptions)
	return u, "user", err
}

func newLog(w io.Writer, level, format string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // it is one of the choices
	o := &slog.HandlerOptions{Level: l}
	var h slog.Handler = slog.NewTextHandler(w, o)
	if format == "json" {
		h = slog.NewJSONHandler(w, o)
	}
	return drain.NonBlocking(slog.New(h)) // a log that nobody reads must not stop the updates of the targets
}

// version returns the versions of this program's module, with the commit if the build recorded it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
