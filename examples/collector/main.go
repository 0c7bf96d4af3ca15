// Collector receives log traffic, keeps it on this host's own disk, and delivers it to every destination. It is the service to
// start from, unchanged or as a copy:
//
//	collector -config /etc/penstock/collector.yaml
//
//	collector -spool /var/spool/penstock -http :8080 \
//	  -listen vpn=udp://:5140 -listen vpn=tcp://:5140 -listen 'web=tcp://:6514?framing=octet' \
//	  -dest 'idc=sftp://ingest@idc.example:22/srv/ingest?key=/etc/penstock/key&known_hosts=/etc/penstock/known_hosts' \
//	  -dest 's3=s3://bucket/prefix?region=eu-central-1'
//
// Each flag is also a key of the file and a variable of the environment: collector -h explains that, and
// internal/docs/configuration.md has a table. collector check tests the settings and the destinations without starting the
// service.
//
// Its exit codes:
//
//	0  drained and verified, or stopped with nothing pending
//	3  stopped; records are pending for a destination
//	4  the drain is incomplete, kept records are damaged and not given up (see collector give-up -h), or records could not
//	   be kept at the end
//	5  a verification mismatch or a conflict
//	2  usage
//	1  anything else
//
// # The way through the files
//
// main.go chooses the command. For the service itself: config.go holds and checks the settings that flags.go defines (values.go
// parses values, and package examples/internal/cli reads the command line, the environment and the file). log.go makes the log.
// service.go is the life of the process, step by step. class.go is one class of traffic: sockets, spool, shipper. reload.go
// applies changed settings at SIGHUP, live.go holds the settings that it can change, and swap.go replaces the driver of a
// destination. notify.go notifies systemd. status.go is the status page, platform.go the table of platforms; disk.go and
// descriptors.go divide the disk and the file descriptors between the classes. left.go delivers classes that no longer have a
// listener; adopt.go, orphan.go and owed.go deliver spools that other instances left behind; handover.go, successor.go and
// attach.go replace the process with a new one. giveup.go, check.go and statuscmd.go are the commands give-up, check and
// status.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/drain"
)

func main() {
	// The reader of the log may have exited before the first line is logged, while the Drainer does not handle SIGPIPE yet.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)
	os.Exit(run(os.Args[1:]))
}

const (
	exitFailed = 1
	exitUsage  = 2
)

func run(args []string) int {
	if code, done := command().Common(args, version(), os.Stdout, os.Stderr); done {
		return code
	}
	if len(args) > 0 {
		switch args[0] {
		case "give-up":
			return giveUp(args[1:], os.Stdout, os.Stderr)
		case "check":
			return check(args[1:], os.Stdout, os.Stderr)
		case "status":
			return showStatus(args[1:], os.Stdout, os.Stderr)
		}
	}
	c, err := parseFlags(args, os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%v\ncollector -h lists the flags, and collector check shows all settings\n", err)
		return exitUsage
	}
	log := newLog(c, os.Stderr)
	if c.preStop != "" {
		return exitCode(nil, tellPreStop(c.preStop), log)
	}
	r, err := serve(c, log)
	return exitCode(r, err, log)
}

// exitCode logs err, writes the summary of the report if there is one, and returns the exit code.
func exitCode(r *drain.Report, err error, log *slog.Logger) int {
	if errors.Is(err, drain.ErrHandedOver) {
		return 0
	}
	if err != nil {
		log.Error("collector: exiting after an error; kept records stay in the spool", "err", err)
	}
	switch {
	case errors.Is(err, errFlags):
		return exitUsage
	case r != nil:
		summarize(r, os.Stderr)
		return r.ExitCode()
	case err != nil:
		return exitFailed
	}
	return 0
}

// errFlags marks mistakes in the flags that are found only when the service starts.
var errFlags = errors.New("unusable flags")

// summarize writes the report for people to read. It stops waiting after two seconds: if nobody reads w any more, a full pipe
// must not keep the process from ending. The report's file is complete.
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

// version returns the versions of this program's module, with the commit if the build recorded it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
