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
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
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
	served *served // of all classes

	attaches *attaches // of all classes

	// Once started:
	open      *spool.Spool
	shipper   *ship.Shipper
	listeners []ingest.Listener
	hold      *ingest.Hold // after a hand-over
}

// framings are the schemes of -listen besides those that ingest has itself.
var framings = map[string]ingest.Framing{"relp": relp.Framing}

// prepare readies every class without starting anything.
func prepare(ctx context.Context, c *config, log *slog.Logger) ([]*class, error) {
	var classes []*class
	for _, name := range c.classes {
		cl, err := newClass(ctx, c, name, log)
		if err != nil {
			return nil, err
		}
		classes = append(classes, cl)
	}
	return classes, shareDisk(c, classes, log)
}

func newClass(ctx context.Context, c *config, name string, log *slog.Logger) (*class, error) {
	cl := &class{
		name: name, dir: filepath.Join(c.spoolDir, name), log: log.With("class", name),
		ship: ship.Options{
			Destinations: map[string]ship.Destination{},
			Limits:       map[string][]*ship.Limiter{},
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
	cl.listen.Framings = framings
	if c.key != nil {
		cl.ship.Signer = c.key
	}
	cl.ship.Logger, cl.spool.Logger, cl.listen.Logger = log, log, cl.log // the first two name the class themselves
	// A connection pool per class: a class that stalls at a destination holds up no other.
	for dest, u := range c.dests {
		d, err := open.Destination(ctx, u, &open.Options{Logger: log.With("class", name, "destination", dest)})
		if err != nil {
			return nil, fmt.Errorf("%w: -dest %s: %w", errFlags, dest, err)
		}
		cl.ship.Destinations[dest] = d
		for _, limit := range []string{dest, dest + "/" + name} {
			if l := c.limits[limit]; l != nil {
				cl.ship.Limits[dest] = append(cl.ship.Limits[dest], l)
			}
		}
	}
	for _, l := range c.listen {
		if l.class == name {
			cl.urls = append(cl.urls, l.url)
		}
	}
	return cl, nil
}

// start opens the spool and binds the sockets. Nothing is received yet: see run. With an error, nothing is left open.
func (cl *class) start(listen bool) (err error) {
	defer func() {
		if err != nil {
			err = errors.Join(err, cl.close())
		}
	}()
	if err := cl.openSpool(); err != nil {
		return err
	}
	if !listen {
		return nil
	}
	return cl.bind(nil)
}

// openSpool opens the spool and what ships from it. With an error, neither is open.
func (cl *class) openSpool() (err error) {
	if cl.open != nil {
		return nil
	}
	s, err := spool.Open(cl.dir, &cl.spool)
	if errors.Is(err, spool.ErrOptions) {
		return fmt.Errorf("%w: %w", errFlags, err)
	}
	if err != nil {
		return err
	}
	if cl.shipper, err = ship.New(s, &cl.ship); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", errFlags, err), s.Close())
	}
	cl.open = s
	return nil
}

// bind opens the listeners, on the sockets that are inherited if there are any.
func (cl *class) bind(inherited *ingest.Inheritance) error {
	for _, u := range cl.urls {
		o := cl.listen
		if inherited != nil {
			inherited.Apply(socketName(cl.name, u), &o)
		}
		l, err := ingest.Listen(u, &o)
		if err != nil {
			return err
		}
		cl.listeners = append(cl.listeners, l)
	}
	return nil
}

// run hands a started class to d and lets its listeners receive.
func (cl *class) run(d *drain.Drainer) error {
	if err := cl.add(d); err != nil {
		return errors.Join(err, cl.close())
	}
	cl.serve(cl.open.Intake(), d)
	return nil
}

func (cl *class) add(d *drain.Drainer) error {
	dc := drain.Class{Shipper: cl.shipper}
	for _, l := range cl.listeners {
		dc.Inputs = append(dc.Inputs, l)
	}
	return d.Add(dc)
}

// serve lets the listeners receive.
func (cl *class) serve(sink ingest.Sink, d *drain.Drainer) {
	for i, l := range cl.listeners {
		cl.served.add(socketName(cl.name, cl.urls[i]), l)
		go func() {
			if err := l.Serve(sink); !errors.Is(err, ingest.ErrServerClosed) {
				cl.log.Error("listener ended", "url", cl.urls[i], "err", err)
				d.Down(cl.name, fmt.Errorf("%s: %w", cl.urls[i], err))
			}
		}()
	}
}

// close undoes start.
func (cl *class) close() error {
	var errs []error
	for _, l := range cl.listeners {
		errs = append(errs, l.Close())
	}
	if cl.open != nil {
		errs = append(errs, cl.open.Close())
	}
	cl.open, cl.shipper, cl.listeners = nil, nil, nil
	return errors.Join(errs...)
}

// retry starts a class again and again until it runs: the others run meanwhile.
func (cl *class) retry(ctx context.Context, d *drain.Drainer, listen bool) {
	for wait := time.Second; ; wait = min(2*wait, time.Minute) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := cl.start(listen)
		if err == nil {
			if err = cl.run(d); err == nil {
				cl.log.Info("class is up")
				return
			}
		}
		if errors.Is(err, drain.ErrEnding) {
			return
		}
		cl.log.Error("class is still down", "err", err, "again_in", wait)
		d.Down(cl.name, err)
	}
}
