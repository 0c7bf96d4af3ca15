package main

import (
	"context"
	"errors"
	"io"

	"github.com/penstock-go/penstock/ship/audit"
)

// replay restores objects that one destination has lost from another.
func replay(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	return newReplay().run(ctx, args, stdout, stderr)
}

func newReplay() *change[audit.Repair] {
	var o audit.ReplayOptions
	c := newChange[audit.Repair]("audit replay", &o.Class, &o.Spool)
	from := c.String("from", "", "`URL` of the destination that has the objects")
	to := c.String("to", "", "`URL` of the destination that lacks them")
	c.Uint64Var(&o.First, "first", 0, "first sequence number `N`")
	c.Uint64Var(&o.Last, "last", 0, "last sequence number `N`, 0 for no bound")
	c.nothing = "there is nothing to restore: -to lacks none of the objects that -from has"
	c.ready = func() ([]string, error) {
		if *from == "" || *to == "" {
			return nil, errors.New("replay: -from and -to are needed")
		}
		return []string{*from, *to}, nil
	}
	c.do = func(ctx context.Context, all []audit.Place) ([]audit.Repair, error) {
		o.From, o.To = all[0], all[1]
		return audit.Replay(ctx, &o)
	}
	return c
}
