// Spoolctl inspects and repairs spools, while a service has them open or without one. It reads files, takes no lock, does not
// touch the index, and changes nothing except with repair -apply:
//
//	spoolctl status /var/spool/penstock
//	spoolctl ls /var/spool/penstock/vpn
//	spoolctl cat -since 1h -source 192.0.2.0/24 /var/spool/penstock/vpn
//	spoolctl tail -f /var/spool/penstock/vpn
//	spoolctl verify /var/spool/penstock
//	spoolctl export -to /tmp/records /var/spool/penstock/vpn
//	spoolctl repair /var/spool/penstock/vpn
//	spoolctl du /var/spool/penstock
//
// Its exit codes:
//
//	0  done, and nothing is wrong
//	1  something is damaged, or records are missing
//	2  usage
//	3  there is something to repair, and -apply was not given
//	4  the command could not be finished
//
// # The way through the files
//
// main.go chooses the command, and command.go has what all commands share. status.go, ls.go, du.go, verify.go and repair.go are
// the commands of these names. cat.go, tail.go and export.go write records: walk.go finds them in segments and staged files,
// filter.go selects among them, and output.go writes them so that they cannot control a terminal. text.go formats sizes, counts
// and times.
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

	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/spool"
)

const (
	exitDamaged = 1
	exitUsage   = 2
	exitRepair  = 3
	exitFailed  = 4
)

var exits = []string{
	"0  done, and nothing is wrong",
	"1  something is damaged, or records are missing",
	"2  usage",
	"3  there is something to repair, and -apply was not given",
	"4  the command could not be finished",
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// commands are the subcommands, in the order of the help.
func commands() []*command {
	return []*command{statusCommand(), lsCommand(), catCommand(), tailCommand(), verifyCommand(), exportCommand(), repairCommand(), duCommand()}
}

// program describes the program with its commands.
func program(all []*command) *cli.Command {
	c := &cli.Command{
		Name: "spoolctl", Does: "looks into spools and repairs them",
		Text: "DIR is the directory of a spool, or one whose subdirectories are spools, as the collector's -spool. A running service is not " +
			"disturbed: spoolctl reads files, takes no lock and does not touch the index. Nothing is changed but with repair -apply.",
		Exit: exits,
	}
	for _, sub := range all {
		c.Commands = append(c.Commands, sub.describe())
	}
	return c
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	all := commands()
	p := program(all)
	if len(args) == 0 || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		if len(args) == 0 {
			p.Help(stderr)
			return exitUsage
		}
		p.Help(stdout)
		return 0
	}
	if code, done := p.Common(args, version(), stdout, stderr); done {
		return code
	}
	for _, c := range all {
		if c.name == args[0] {
			return c.run(ctx, args[1:], stdout, stderr)
		}
	}
	fmt.Fprintf(stderr, "spoolctl: there is no command %q; spoolctl -h lists them\n", terminal.Printable(args[0]))
	return exitUsage
}

// fail prints an error and returns the exit code for it.
func fail(stderr io.Writer, name string, err error) int {
	fmt.Fprintf(stderr, "spoolctl %s: %s\n", name, terminal.Paragraph(err.Error())) // it may contain names that other parties chose
	switch {
	case errors.Is(err, errUsage), errors.Is(err, flag.ErrHelp), errors.Is(err, spool.ErrOptions):
		return exitUsage
	case errors.Is(err, errDamaged):
		return exitDamaged
	}
	return exitFailed
}

// version returns the versions of this program's module, with the commit if the build recorded it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
