// Loadgen sends log lines that prove themselves, and checks which of them arrived.
//
//	loadgen send  -to udp://HOST:PORT|tcp://HOST:PORT[?framing=newline|octet|len16|len32] [-to …]
//	              [-rate PPS] [-size BYTES] -count N | -for DURATION [-sources K] [-run ID]
//	loadgen check -run ID -sent N -at URL [-at URL …]
//
// Send prints one JSON line that says how many lines it sent, and to which targets. Check reads every object at each destination
// (URLs as the collector takes them) and exits with 1 unless every line is there, once, as it was sent. Package fwlog makes the
// lines and counts them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// errUsage marks mistakes on the command line: exit code 2.
var errUsage = errors.New("usage")

func run(ctx context.Context, args []string) int {
	err := fmt.Errorf("%w: loadgen send|check [flags]; loadgen send -h says more", errUsage)
	if len(args) > 0 {
		switch args[0] {
		case "-version", "--version":
			fmt.Println("loadgen", version())
			return 0
		case "send":
			err = send(ctx, args[1:], os.Stdout)
		case "check":
			err = check(ctx, args[1:], os.Stdout)
		}
	}
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.Is(err, errUsage):
		fmt.Fprintln(os.Stderr, err)
		return 2
	}
	fmt.Fprintln(os.Stderr, "loadgen:", err)
	return 1
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string { return fmt.Sprint(*l) }

func (l *list) Set(s string) error {
	*l = append(*l, s)
	return nil
}

// version is the version of the module that this program was built from, with the commit if the build knew it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
