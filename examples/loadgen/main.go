// Loadgen sends log lines that prove themselves, and checks which of them arrived: an acceptance test for a fleet.
//
//	loadgen send   -to URL [-to URL …] [-rate N | -profile PROFILE] -count N | -for TIME [-report FILE] [-page FILE]
//	loadgen replay -to URL [-to URL …] [-speed N | -rate N | -profile PROFILE] [-stamp] FILE [FILE …]
//	loadgen check  -report FILE [-report FILE …] -at URL [-at URL …] [-class CLASS] [-out FILE] [-page FILE]
//	loadgen check  -run ID -sent N -at URL [-at URL …]
//
// Send makes lines and sends them at the rate of a profile. Replay sends the datagrams of pcap and pcapng files. Both print one
// JSON line that says how many lines they sent, and to which targets; on a terminal they draw their progress and print a
// summary. With -report they write all results to a file, with -page to an HTML page. Check reads every object at each
// destination (URLs like those of the collector) and exits with 1 unless every line is there, once, as it was sent. It adds up
// the reports of several machines, and its memory is limited to -memory, however long the runs were.
//
// # The way through the files
//
// main.go chooses the command, and command.go has what all commands share. send.go and replay.go make lines, run.go sends them
// at the times given by the profile. target.go parses the URL of a target, conns.go and relp.go send to it. live.go draws the
// progress. check.go counts the lines that arrived. Package shape has the profiles, fwlog the lines, capture the packets, paged
// the sets of sequence numbers found, and report the JSON and the page.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// errUsage marks mistakes on the command line: exit code 2.
var errUsage = errors.New("usage")

// commands are the subcommands, in the order of the help.
func commands() []*command { return []*command{sendCommand(), replayCommand(), checkCommand()} }

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	all := commands()
	p := program(all)
	if len(args) == 0 {
		p.Help(stderr)
		return 2
	}
	switch args[0] {
	case "-h", "-help", "--help":
		p.Help(stdout)
		return 0
	}
	if code, done := p.Common(args, version(), stdout, stderr); done {
		return code
	}
	for _, c := range all {
		if c.name == args[0] {
			return exitCode(c, c.run(ctx, args[1:], stdout, stderr), stderr)
		}
	}
	fmt.Fprintf(stderr, "loadgen: there is no command %q; loadgen -h lists them\n", args[0])
	return 2
}

// exitCode prints an error and returns the exit code for it.
func exitCode(c *command, err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintf(stderr, "loadgen %s: %v\nloadgen %s -h says more\n", c.name, err, c.name)
		return 2
	}
	fmt.Fprintf(stderr, "loadgen %s: %v\n", c.name, err)
	return 1
}

// version returns the versions of this program's module, with the commit if the build recorded it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
