package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"

	"github.com/penstock-go/penstock/ship/audit"
)

// replay restores what one destination has lost from another.
func replay(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var o audit.ReplayOptions
	fs := flag.NewFlagSet("audit replay", flag.ContinueOnError)
	fs.SetOutput(stderr)
	from := fs.String("from", "", "destination `URL` that has the objects")
	to := fs.String("to", "", "destination `URL` that lacks them")
	fs.StringVar(&o.Class, "class", "", "`CLASS` of the spool")
	fs.StringVar(&o.Spool, "spool", "", "spool `ID`, as the audit prints it")
	fs.Uint64Var(&o.First, "first", 0, "first sequence number `N`")
	fs.Uint64Var(&o.Last, "last", 0, "last sequence number `N`, 0 for no bound")
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0
	}
	if err == nil && (*from == "" || *to == "" || o.Class == "" || o.Spool == "" || fs.NArg() > 0) {
		err = errors.New("-from, -to, -class and -spool are all needed, and nothing else but -first and -last")
	}
	var done func()
	if err == nil {
		var all []audit.Place
		if all, done, err = places(ctx, *from, *to); err == nil {
			o.From, o.To = all[0], all[1]
		}
	}
	if err != nil {
		fmt.Fprintln(stderr, "audit:", err)
		return exitUsage
	}
	defer done()
	repairs, err := audit.Replay(ctx, &o)
	out := json.NewEncoder(stdout)
	for _, r := range repairs {
		err = errors.Join(err, out.Encode(r))
	}
	if err != nil {
		return failed(stderr, err)
	}
	return 0
}
