package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/penstock-go/penstock/examples/internal/terminal"
	"github.com/penstock-go/penstock/ship/audit"
)

// change is a command that writes documents or objects of one spool at destinations.
type change[T any] struct {
	*flag.FlagSet
	class, spool *string
	// ready returns the destinations to open, or the mistakes in the flags. It is called after the flags are parsed.
	ready func() (urls []string, err error)
	// do writes, and returns what to print, even if it also returns an error.
	do func(context.Context, []audit.Place) ([]T, error)
	// nothing is printed if there was nothing to write.
	nothing string
}

// newChange returns a command without its own flags.
func newChange[T any](name string, class, spool *string) *change[T] {
	c := &change[T]{FlagSet: flag.NewFlagSet(name, flag.ContinueOnError), class: class, spool: spool}
	c.StringVar(c.class, "class", "", "`CLASS` of the spool")
	c.StringVar(c.spool, "spool", "", "spool `ID`, as the audit prints it")
	return c
}

// run reads the flags, opens the destinations, and prints what was written, one line of JSON for each.
func (c *change[T]) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	c.SetOutput(stderr)
	err := c.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var urls []string
	if err == nil {
		urls, err = c.ready()
	}
	if err == nil && (*c.class == "" || *c.spool == "") {
		err = errors.New("-class and -spool are needed")
	}
	if err == nil && c.NArg() > 0 {
		err = fmt.Errorf("unexpected argument %q", c.Arg(0))
	}
	var all []audit.Place
	var done func()
	if err == nil {
		all, done, err = places(ctx, slog.Default(), urls...)
	}
	if err != nil {
		return refused(stderr, err)
	}
	defer done()
	written, err := c.do(ctx, all)
	for _, w := range written {
		b, jerr := json.Marshal(w)
		if jerr == nil {
			_, jerr = stdout.Write(append(terminal.EscapeJSON(b), '\n'))
		}
		err = errors.Join(err, jerr)
	}
	if err != nil {
		return failed(stderr, err)
	}
	if len(written) == 0 { // not on stdout, which programs parse
		fmt.Fprintln(stderr, c.Name()+":", c.nothing)
	}
	return 0
}
