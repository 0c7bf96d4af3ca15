package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool/segment"
)

// maxSent bounds what check counts: one bit a line, 1 GiB.
const maxSent = 8 << 30

// found is the JSON line that check prints for each destination.
type found struct {
	At    string `json:"at"`
	Sent  uint64 `json:"sent"`
	Found uint64 `json:"found"`

	// Missing is null if not everything could be read: the rest may contain the missing lines.
	Missing   *uint64 `json:"missing"`
	Duplicate uint64  `json:"duplicate"`
	Altered   uint64  `json:"altered"`
	// FirstMissing are the sequence numbers of the first few lines that are missing.
	FirstMissing []uint64 `json:"first_missing,omitempty"`
	Error        string   `json:"error,omitempty"`
}

var errNotAll = errors.New("not every line is there once, as it was sent")

// check reads every object at each destination and counts the lines of a run.
func check(ctx context.Context, args []string, stdout io.Writer) error {
	var at list
	fs := flag.NewFlagSet("loadgen check", flag.ContinueOnError)
	run := fs.String("run", "", "`NAME` of the run")
	sent := fs.Uint64("sent", 0, "`N`umber of lines that were sent")
	fs.Var(&at, "at", "`URL` of a destination: "+open.Forms()+"; repeatable")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return fmt.Errorf("%w: %w", errUsage, err)
	}
	var errs []error
	if fs.NArg() > 0 {
		errs = append(errs, fmt.Errorf("unexpected argument %q", fs.Arg(0)))
	}
	if err := fwlog.CheckRun(*run); err != nil {
		errs = append(errs, fmt.Errorf("-run: %w", err))
	}
	if *sent == 0 || *sent > maxSent {
		errs = append(errs, fmt.Errorf("-sent %d: 1 to %d", *sent, uint64(maxSent)))
	}
	if len(at) == 0 {
		errs = append(errs, errors.New("-at is missing"))
	}
	if len(errs) > 0 {
		return fmt.Errorf("%w: %w", errUsage, errors.Join(errs...))
	}
	ok := true
	for _, u := range at {
		f := checkAt(ctx, u, *run, *sent)
		line, err := json.Marshal(f)
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintf(stdout, "%s\n", line); err != nil {
			return err
		}
		ok = ok && f.Error == "" && *f.Missing == 0 && f.Duplicate == 0 && f.Altered == 0
	}
	if !ok {
		return errNotAll
	}
	return nil
}

// checkAt counts at one destination. Reads that fail are retried. If something cannot be read in the end, that is an error, and
// the number of missing lines stays unknown.
func checkAt(ctx context.Context, u, run string, sent uint64) found {
	t := fwlog.NewTally(run, sent)
	d, err := open.Destination(ctx, u, &open.Options{Logger: slog.Default()})
	if err == nil {
		err = open.Records(ctx, d, "", func(_ uint64, r segment.Record) error {
			t.Add(r.Data)
			return nil
		})
		if c, ok := d.(io.Closer); ok {
			err = errors.Join(err, c.Close())
		}
	}
	f := found{At: u, Sent: sent, Found: t.Found, Duplicate: t.Duplicate, Altered: t.Altered}
	if err != nil {
		f.Error = "not everything could be read: " + err.Error()
		return f
	}
	missing := t.Missing()
	f.Missing, f.FirstMissing = &missing, t.FirstMissing(5)
	return f
}
