package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/examples/internal/place"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

// class is one kind of traffic, with everything of its own: sockets, spool, shipper, connections to the destinations.
type class struct {
	name   string
	urls   []string
	spool  spool.Options
	ship   ship.Options
	dir    string
	listen ingest.Options
	log    *slog.Logger
}

// open prepares every class without starting anything, and lists every mistake in the URLs at once.
func open(ctx context.Context, c *config, log *slog.Logger) ([]*class, error) {
	var errs []error
	var classes []*class
	for _, name := range c.classes {
		cl := &class{
			name: name, dir: filepath.Join(c.spoolDir, name), log: log.With("class", name),
			ship: ship.Options{
				Destinations: map[string]ship.Destination{},
				Format:       c.format.of(name),
				Codec:        c.codec.of(name).name,
				Level:        c.codec.of(name).level,
			},
			spool: spool.Options{
				Class:        name,
				Destinations: slices.Sorted(maps.Keys(c.dests)),
				Forget:       c.forget,
				SegmentBytes: c.segmentBytes.of(name),
				SegmentAge:   c.segmentAge.of(name),
				Sync:         c.sync.of(name).policy,
				SyncInterval: c.sync.of(name).interval,
				MaxBytes:     c.maxBytes.of(name),
			},
		}
		cl.ship.Logger, cl.spool.Logger, cl.listen.Logger = cl.log, cl.log, cl.log
		// A connection pool per class: a class that stalls at a destination holds up no other.
		for dest, u := range c.dests {
			d, err := place.Open(ctx, u)
			if err != nil {
				errs = append(errs, fmt.Errorf("-dest %s: %w", dest, err))
				continue
			}
			cl.ship.Destinations[dest] = d
		}
		for _, l := range c.listen {
			if l.class != name {
				continue
			}
			if _, err := ingest.Parse(l.url, nil); err != nil {
				errs = append(errs, fmt.Errorf("-listen %s: %w", name, err))
			}
			cl.urls = append(cl.urls, l.url)
		}
		classes = append(classes, cl)
		if len(errs) > 0 {
			break // the destinations are the same for every class: one list of mistakes is enough
		}
	}
	if len(errs) > 0 {
		return nil, fmt.Errorf("%w: %w", errFlags, errors.Join(errs...))
	}
	return classes, shareDisk(c, classes, log)
}

// start opens the spool, binds the sockets and hands both to d.
func (cl *class) start(d *drain.Drainer, listen bool) (err error) {
	sp, err := spool.Open(cl.dir, &cl.spool)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, sp.Close())
		}
	}()
	sh, err := ship.New(sp, &cl.ship)
	if err != nil {
		return fmt.Errorf("%w: %w", errFlags, err)
	}
	var ls []ingest.Listener
	defer func() {
		if err != nil {
			for _, l := range ls {
				l.Close()
			}
		}
	}()
	dc := drain.Class{Name: cl.name, Spool: sp, Shipper: sh}
	for _, u := range cl.urls {
		if !listen {
			break
		}
		l, err := ingest.Listen(u, &cl.listen)
		if err != nil {
			return err
		}
		ls = append(ls, l)
		dc.Listeners = append(dc.Listeners, l)
	}
	if err := d.Add(dc); err != nil {
		return err
	}
	for i, l := range ls {
		go func() {
			if err := l.Serve(sp.Intake()); !errors.Is(err, ingest.ErrServerClosed) {
				cl.log.Error("listener ended", "url", cl.urls[i], "err", err)
				d.Down(cl.name, fmt.Errorf("%s: %w", cl.urls[i], err))
			}
		}()
	}
	return nil
}

// retry starts a class again and again until it runs: the others run meanwhile.
func (cl *class) retry(ctx context.Context, d *drain.Drainer, listen bool) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := cl.start(d, listen)
		switch {
		case err == nil:
			cl.log.Info("class is up")
			return
		case errors.Is(err, drain.ErrEnding):
			return
		}
		cl.log.Error("class is still down", "err", err, "again_in", wait)
		d.Down(cl.name, err)
	}
}
