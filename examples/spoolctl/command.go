package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/examples/internal/bar"
	"github.com/penstock-go/penstock/examples/internal/cli"
	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/spool"
)

var (
	errUsage   = errors.New("usage")
	errDamaged = errors.New("damaged")
)

// command is a subcommand.
type command struct {
	name, does string
	synopsis   string
	text       string // with examples
	flags      *flag.FlagSet
	// one: the command accepts only one spool.
	one bool
	// do runs the command on the spools that the arguments name.
	do func(ctx context.Context, to *output, dirs []string) (code int, err error)
}

// output is where a command writes its output.
type output struct {
	stdout, stderr io.Writer
	json           bool
	quiet          bool // no progress bar
}

func newCommand(name, does, synopsis, text string) *command {
	c := &command{name: name, does: does, synopsis: synopsis, text: text}
	c.flags = flag.NewFlagSet("spoolctl "+name, flag.ContinueOnError)
	return c
}

func (c *command) describe() *cli.Command {
	return &cli.Command{
		Name: "spoolctl " + c.name, Does: c.does, Synopsis: []string{c.synopsis}, Text: c.text, Flags: c.flags, Exit: exits,
	}
}

func (c *command) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	to := &output{stdout: stdout, stderr: stderr}
	c.flags.BoolVar(&to.json, "json", false, "print JSON")
	c.flags.BoolVar(&to.quiet, "quiet", false, "draw no progress bar")
	c.flags.SetOutput(io.Discard)
	dirs, err := parse(c.flags, args)
	if errors.Is(err, flag.ErrHelp) {
		c.describe().Help(stdout)
		return 0
	}
	if err == nil {
		dirs, err = spools(dirs, c.one)
	}
	if err != nil {
		if errors.Is(err, errUsage) {
			err = fmt.Errorf("%w; spoolctl %s -h says more", err, c.name)
		}
		return fail(stderr, c.name, err)
	}
	code, err := c.do(ctx, to, dirs)
	if err != nil {
		return fail(stderr, c.name, err)
	}
	return code
}

// parse parses flags before, between and after the arguments.
func parse(f *flag.FlagSet, args []string) (rest []string, err error) {
	for {
		if err := f.Parse(args); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				return nil, err
			}
			return nil, fmt.Errorf("%w: %w", errUsage, err)
		}
		if f.NArg() == 0 {
			return rest, nil
		}
		ended := len(args) > f.NArg() && args[len(args)-f.NArg()-1] == "--" // only arguments follow --
		if ended {
			return append(rest, f.Args()...), nil
		}
		rest, args = append(rest, f.Arg(0)), f.Args()[1:]
	}
}

// spools returns the spools among the directories and their subdirectories.
func spools(dirs []string, one bool) (list []string, err error) {
	if len(dirs) == 0 {
		return nil, fmt.Errorf("%w: the directory of a spool is missing", errUsage)
	}
	for _, dir := range dirs {
		if isSpool(dir) {
			list = append(list, dir)
			continue
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		found := false
		for _, e := range entries {
			if sub := filepath.Join(dir, e.Name()); e.IsDir() && isSpool(sub) {
				list, found = append(list, sub), true
			}
		}
		if !found {
			return nil, fmt.Errorf("%s holds no spool, and none of its subdirectories does: %w", dir, fs.ErrNotExist)
		}
	}
	if one && len(list) > 1 {
		return nil, fmt.Errorf("%w: this needs one spool, and there are %d: %s", errUsage, len(list), strings.Join(list, ", "))
	}
	return list, nil
}

// isSpool reports whether a directory has a file of a spool.
func isSpool(dir string) bool {
	_, err1 := os.Lstat(filepath.Join(dir, "spool.json"))
	_, err2 := os.Lstat(filepath.Join(dir, "seg"))
	return err1 == nil || err2 == nil
}

// show prints values as JSON, one after the other, or each as text.
func show[T any](to *output, values []T, text func(io.Writer, T)) error {
	if !to.json {
		for i, v := range values {
			if i > 0 {
				fmt.Fprintln(to.stdout)
			}
			text(to.stdout, v)
		}
		return nil
	}
	b, err := json.MarshalIndent(values, "", "  ")
	if err != nil {
		return err
	}
	_, err = to.stdout.Write(append(terminal.EscapeJSON(b), '\n'))
	return err
}

// progress draws a bar until done is called. part returns how much is done, from 0 to 1, and a text.
func (to *output) progress(part func() (float64, string)) (done func()) {
	if to.quiet {
		return func() {}
	}
	return bar.Draw(to.stderr, func() string { return bar.Line(part()) })
}

// warn prints a line for people.
func (to *output) warn(format string, a ...any) {
	fmt.Fprintln(to.stderr, "spoolctl: "+terminal.Paragraph(fmt.Sprintf(format, a...)))
}

// readSegments returns a spool's directory and its segments, ordered by their records.
func readSegments(dir string) (*spool.Directory, []*spool.SegmentFile, error) {
	d, err := spool.ReadDirectory(dir)
	if err != nil {
		return nil, nil, err
	}
	list, err := d.ReadSegments()
	slices.SortStableFunc(list, func(a, b *spool.SegmentFile) int {
		// Segments whose records are not known come last: their First-1 is the largest number.
		return cmp.Or(cmp.Compare(a.First-1, b.First-1), cmp.Compare(a.Number, b.Number))
	})
	return d, list, err
}
