// Audit proves, from the contents of the destinations alone, that nothing is missing, duplicated or altered.
//
//	audit -at URL [-at URL …] [-class C] [-deep] [-since T] [-hour 2026-11-22T08] [-expect FILE] [-pubkey FILE …] [-checkpoint FILE] [-json]
//	audit replay -from URL -to URL -class C -spool ID [-first N] [-last N]
//	audit serve -at URL [-at URL …] [-http ADDR] [-config FILE] [-expect FILE] [-retention TIME] [-mark URL] [flags]
//	audit wait -at URL [-at URL …] -class C -hour 2026-11-22T08 [-timeout TIME] [-mark URL] [flags]
//	audit close -at URL [-at URL …] -class C -spool ID -reason TEXT [-by NAME] [-sign FILE]
//
// Destinations are URLs like those of the collector. Several destinations are compared with each other, which proves that no
// chain was cut off at its end. -expect names a file of spool ids or instances, one per line, that must appear. -since skips
// objects that a retention rule may have deleted. -hour asks whether one hour is complete, for batch jobs downstream. -pubkey
// names a public key that collectors sign with (collector -sign): every chain must then be signed by one of the keys given.
// -checkpoint names a file from which an interrupted audit continues. A file damaged by a power cut is ignored.
//
// Serve watches the destinations with credentials that can only read and list. It serves a page with a calendar of hours for
// each class, the same data as JSON, and metrics: see audit help serve. Wait ends when one hour of a class is complete. Both
// can write a marker object for a complete hour, for which they need credentials that can write it.
//
// Replay restores objects that one destination has lost from another that has them, verifies them, and prints each as a line of
// JSON. It writes a note of each below _repair/. If there is nothing to restore, it prints nothing to standard output, says so
// on standard error, and exits with 0.
//
// Close states that a spool is permanently gone: the host and its volume cannot be restored. Otherwise every later audit would
// report the spool as owed. It writes one document next to the spool's chain at each destination named, and removes and changes
// nothing. Name all destinations of the spool; -sign is required if its chain is signed. Later audits report the spool as
// closed, separately from complete ones, and report it if it delivers again.
//
// Exit codes: 0 everything is complete, or closed; 1 something is damaged; 2 usage; 3 something is still owed; 4 the audit
// could not be finished.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
)

const (
	exitDamaged = 1
	exitUsage   = 2
	exitOwed    = 3
	exitFailed  = 4
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

// flags holds the settings of the command line.
type flags struct {
	at   []string
	json bool
	audit.Options
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	if code, done := command().Common(args, version(), stdout, stderr); done {
		return code
	}
	if len(args) > 0 {
		if sub := commands[args[0]]; sub != nil {
			return sub(ctx, args[1:], stdout, stderr)
		}
	}
	f, err := parse(args, stderr)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil {
		var done func()
		if done, err = f.open(ctx); err == nil {
			defer done()
		}
	}
	if err != nil {
		return refused(stderr, err)
	}
	f.Logger = slog.New(slog.NewTextHandler(stderr, nil))
	show := watch(stderr, &f.Options)
	r, err := audit.Run(ctx, &f.Options)
	show()
	if err != nil {
		return failed(stderr, err)
	}
	if f.json {
		var b []byte
		if b, err = json.MarshalIndent(r, "", "  "); err == nil {
			_, err = stdout.Write(append(terminal.EscapeJSON(b), '\n'))
		}
	} else {
		err = r.WriteText(stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "audit:", err)
		return exitFailed
	}
	return map[audit.Verdict]int{audit.Complete: 0, audit.Closed: 0, audit.Damaged: exitDamaged, audit.Owed: exitOwed}[r.Verdict]
}

// commands are the subcommands, in addition to those of cli.Command.Common.
var commands map[string]func(ctx context.Context, args []string, stdout, stderr io.Writer) int

func init() { // in init, because the commands print their help, which lists all of them
	commands = map[string]func(context.Context, []string, io.Writer, io.Writer) int{
		"replay": replay, "close": closeSpool, "serve": serve, "wait": waitHour,
	}
}

// failed prints why the audit has no result, and returns the exit code.
func failed(stderr io.Writer, err error) int {
	fmt.Fprintln(stderr, terminal.Paragraph(err.Error())) // it may contain names that other parties chose at a destination
	if errors.Is(err, audit.ErrOptions) {
		return exitUsage
	}
	return exitFailed
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (*flags, error) {
	f, fs := newFlags()
	fs.SetOutput(stderr)
	fs.Usage = func() { command().Help(stderr) }
	if err := fs.Parse(args); err != nil {
		return nil, err
	}
	if fs.NArg() > 0 {
		return nil, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if len(f.at) == 0 {
		return nil, errors.New("-at is missing; audit -h says more")
	}
	return f, nil
}

// newFlags returns the flags of an audit.
func newFlags() (*flags, *flag.FlagSet) {
	f := new(flags)
	fs := flag.NewFlagSet("audit", flag.ContinueOnError)
	fs.Func("at", "`URL` of a destination: "+open.Forms()+"; repeatable", func(s string) error {
		f.at = append(f.at, s)
		return nil
	})
	fs.StringVar(&f.Class, "class", "", "audit only this `CLASS`")
	fs.BoolVar(&f.Deep, "deep", false, "read every object and count its records")
	fs.BoolVar(&f.json, "json", false, "print JSON")
	fs.StringVar(&f.Checkpoint, "checkpoint", "", "continue from `FILE`, and note progress in it")
	fs.IntVar(&f.Workers, "parallel", 16, "`N` requests in flight at each destination")
	fs.Func("since", "skip objects whose newest record is older than this `TIME`: RFC 3339, or a duration before now", func(s string) (err error) {
		f.Since, err = moment(s)
		return err
	})
	fs.Func("hour", "ask only about one `HOUR` in UTC: 2026-11-22T08", func(s string) (err error) {
		f.Hour, err = time.Parse("2006-01-02T15", s)
		return err
	})
	fs.Func("pubkey", "`FILE` with the public key (PEM, ed25519) of a collector: every chain must be signed by one of the keys given; repeatable", func(s string) error {
		key, err := ship.ReadPublicKey(s)
		f.Keys = append(f.Keys, key)
		return err
	})
	fs.Func("expect", "`FILE` of spool ids or instances, one per line, that must appear", func(s string) (err error) {
		f.Expect, err = names(s)
		return err
	})
	return f, fs
}

// open opens the destinations. done closes them.
func (f *flags) open(ctx context.Context) (done func(), err error) {
	f.Places, done, err = places(ctx, slog.Default(), f.at...)
	return done, err
}

// places opens the destinations at the URLs. Their drivers log to log.
func places(ctx context.Context, log *slog.Logger, urls ...string) (all []audit.Place, done func(), err error) {
	var closers []io.Closer
	done = func() {
		for _, c := range closers {
			_ = c.Close() // everything written is already verified
		}
	}
	for _, u := range urls {
		d, err := open.Destination(ctx, u, &open.Options{Logger: log})
		if err != nil {
			done()
			return nil, nil, fmt.Errorf("destination: %w", err)
		}
		if c, ok := d.(io.Closer); ok {
			closers = append(closers, c)
		}
		all = append(all, audit.Place{Destination: d})
	}
	return all, done, nil
}

// moment parses a time, or a duration before now.
func moment(s string) (time.Time, error) {
	if d, err := time.ParseDuration(s); err == nil {
		return time.Now().Add(-d), nil
	}
	return time.Parse(time.RFC3339, s)
}

// names reads a list, one per line; # begins a comment.
func names(path string) (list []string, err error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	s := bufio.NewScanner(file)
	for s.Scan() {
		line, _, _ := strings.Cut(s.Text(), "#")
		if line = strings.TrimSpace(line); line != "" {
			list = append(list, line)
		}
	}
	if err := s.Err(); err != nil {
		return nil, err
	}
	if len(list) == 0 {
		// The program that makes the list must have failed: an audit that expects nothing would pass.
		return nil, fmt.Errorf("%s names no spool and no instance", path)
	}
	return list, nil
}

// version returns the versions of this program's module, with the commit if the build recorded it, and of Go.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown version"
	}
	return info.Main.Version + " " + info.GoVersion
}
