package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/penstock-go/penstock/examples/loadgen/fwlog"
)

// sent is the JSON line that send prints.
type sent struct {
	Run     string            `json:"run"`
	Sent    uint64            `json:"sent"`
	Bytes   uint64            `json:"bytes"`
	Seconds float64           `json:"seconds"`
	Targets map[string]uint64 `json:"targets"`
	Error   string            `json:"error,omitempty"`
}

type sendOptions struct {
	to      list
	rate    int
	size    int
	count   uint64
	length  time.Duration
	sources int
	run     string
}

func parseSend(args []string) (*sendOptions, error) {
	var o sendOptions
	fs := flag.NewFlagSet("loadgen send", flag.ContinueOnError)
	fs.Var(&o.to, "to", "`URL` of a target: udp://HOST:PORT or tcp://HOST:PORT[?framing="+strings.Join(framings, "|")+"]; several targets share the load in turn")
	fs.IntVar(&o.rate, "rate", 0, "lines per second over all targets; 0: as fast as possible")
	fs.IntVar(&o.size, "size", 512, "size of a line in bytes")
	fs.Uint64Var(&o.count, "count", 0, "number of lines to send")
	fs.DurationVar(&o.length, "for", 0, "how long to send")
	fs.IntVar(&o.sources, "sources", 8, "sockets to send from, per target")
	fs.StringVar(&o.run, "run", "", "name of the run (default: random)")
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return nil, err
		}
		return nil, fmt.Errorf("%w: %w", errUsage, err)
	}
	var errs []error
	bad := func(format string, a ...any) { errs = append(errs, fmt.Errorf(format, a...)) }
	if fs.NArg() > 0 {
		bad("unexpected argument %q", fs.Arg(0))
	}
	if len(o.to) == 0 {
		bad("-to is missing")
	}
	if (o.count == 0) == (o.length == 0) {
		bad("give either -count or -for")
	}
	if o.size < fwlog.MinSize || o.size > 65507 {
		bad("-size %d: %d to 65507", o.size, fwlog.MinSize)
	}
	if o.sources < 1 || o.sources > 10000 {
		bad("-sources %d: 1 to 10000", o.sources)
	}
	if o.rate < 0 {
		bad("-rate %d is negative", o.rate)
	}
	if o.run == "" {
		o.run = rand.Text()[:12]
	}
	if err := fwlog.CheckRun(o.run); err != nil {
		bad("-run: %w", err)
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", errUsage, errors.Join(errs...))
	}
	return &o, nil
}

// send generates lines and hands them to the targets in bursts, in turn.
func send(ctx context.Context, args []string, stdout io.Writer) error {
	o, err := parseSend(args)
	if err != nil {
		return err
	}
	gen, err := fwlog.NewGenerator(o.run, uint64(time.Now().UnixNano()))
	if err != nil {
		return err
	}
	var targets []*target
	defer func() {
		for _, t := range targets {
			t.abort()
		}
	}()
	for _, u := range o.to {
		t, err := dial(ctx, u, o)
		if err != nil {
			return err
		}
		targets = append(targets, t)
	}

	// A peer that reads nothing must not prevent a signal from ending the program.
	defer context.AfterFunc(ctx, func() {
		for _, t := range targets {
			t.interrupt()
		}
	})()
	begin := time.Now()
	seq, sendErr := pace(ctx, o, begin, gen, targets)
	took := time.Since(begin)
	res := sent{Run: o.run, Sent: seq, Seconds: took.Seconds(), Targets: map[string]uint64{}}
	for _, t := range targets {
		sendErr = errors.Join(sendErr, t.close(ctx))
		res.Targets[t.url] += t.lines
		res.Bytes += t.lines * uint64(o.size)
	}
	if sendErr != nil {
		res.Error = sendErr.Error()
	}
	line, err := json.Marshal(res)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintf(stdout, "%s\n", line); err != nil {
		return err
	}
	return sendErr
}

// pace sends until the count or the time is used up. It keeps the rate by sending each millisecond the lines that are due. After
// a late wake-up it catches up in bursts of at most maxBurst, so that a pause here does not flood the receiver.
func pace(ctx context.Context, o *sendOptions, begin time.Time, gen *fwlog.Generator, targets []*target) (seq uint64, err error) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	turn := 0
	for o.count == 0 || seq < o.count {
		now := time.Now()
		elapsed := now.Sub(begin)
		if o.length > 0 && elapsed >= o.length || ctx.Err() != nil {
			return seq, nil
		}
		due := uint64(maxBurst)
		if o.rate > 0 {
			should := uint64(elapsed.Seconds() * float64(o.rate))
			if should <= seq {
				<-tick.C
				continue
			}
			due = min(due, should-seq)
		}
		if o.count > 0 {
			due = min(due, o.count-seq)
		}
		gen.Tick(now)
		n, err := targets[turn%len(targets)].burst(gen, seq, int(due), o.size)
		seq += uint64(n)
		if ctx.Err() != nil {
			return seq, nil // interrupted
		}
		if err != nil {
			return seq, err
		}
		turn++
	}
	return seq, nil
}
