package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/penstock-go/penstock/examples/internal/cli"
)

// command is a subcommand.
type command struct {
	name, does string
	synopsis   []string
	text       string // with examples
	set        *cli.Set
	arguments  bool // arguments may follow the flags
	do         func(ctx context.Context, to *output) error
}

// output is where a command writes its output.
type output struct {
	stdout, stderr io.Writer
}

var exits = []string{
	"0  done; check: every line is there once, as it was sent",
	"1  not everything could be sent; check: lines are missing, duplicated or altered, or something could not be read",
	"2  usage",
}

func (c *command) describe() *cli.Command {
	return &cli.Command{Name: "loadgen " + c.name, Does: c.does, Synopsis: c.synopsis, Text: c.text, Flags: c.set.FlagSet, Exit: exits}
}

// program describes the program with its commands.
func program(all []*command) *cli.Command {
	c := &cli.Command{
		Name: "loadgen", Does: "sends log lines that prove themselves, and checks which of them arrived", Exit: exits,
		Text: "Every flag is also a variable of the environment: PENSTOCK_RATE for -rate.",
	}
	for _, sub := range all {
		c.Commands = append(c.Commands, sub.describe())
	}
	return c
}

// run reads the settings and runs the command.
func (c *command) run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if err := c.set.Load(args, os.Environ(), ""); err != nil {
		c.describe().Help(stdout)
		return err
	}
	if !c.arguments && c.set.NArg() > 0 {
		c.set.Stray(c.set.Arg(0))
	}
	return c.do(ctx, &output{stdout, stderr})
}

// refused returns the mistakes in the settings as one error.
func (c *command) refused(more ...error) error {
	if err := errors.Join(append([]error{c.set.Err()}, more...)...); err != nil {
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	return nil
}
