package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ingest/fluentforward"
	"github.com/penstock-go/penstock/ingest/lumberjack"
	"github.com/penstock-go/penstock/ingest/relp"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
)

// class is one kind of traffic. It shares nothing with other classes: it has its own sockets, spool, shipper, and connections
// to the destinations.
type class struct {
	name string
	log  *slog.Logger
	dir  string   // the directory of the spool
	urls []string // the URLs of the listeners

	listen       ingest.Options
	spoolOptions spool.Options
	shipOptions  ship.Options

	served   *served   // shared with the service
	attaches *attaches // shared with the service

	// mu is held while the spool is opened, and while a destination is added. It guards the destinations in spoolOptions and
	// shipOptions.
	mu sync.Mutex
	// Set by start:
	spool     *spool.Spool
	shipper   *ship.Shipper
	listeners []ingest.Listener
	hold      *ingest.Hold // only after a hand-over
}

// framings are the schemes of -listen in addition to those of package ingest.
var framings = map[string]ingest.Framing{"relp": relp.Framing, "lumberjack": lumberjack.Framing, "fluent": fluentforward.Framing}

// prepare makes every class ready to start. It opens no spool and no socket.
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

// newClass returns a class that is ready to start.
func newClass(ctx context.Context, c *config, name string, log *slog.Logger) (*class, error) {
	cl := &class{
		name: name, dir: filepath.Join(c.spoolDir, name), log: log.With("class", name),
		shipOptions: ship.Options{
			Destinations: map[string]ship.Destination{},
			Limits:       map[string][]*ship.Limiter{},
			Format:       c.format.Of(name),
			Codec:        c.codec.Of(name).name,
			Level:        c.codec.Of(name).level,
		},
		spoolOptions: c.spoolOptions(name),
	}
	cl.listen.Framings = framings
	if c.key != nil {
		cl.shipOptions.Signer = c.key
	}
	cl.spoolOptions.Logger, cl.listen.Logger = log, cl.log // the spool and its shipper add the class to the log themselves
	for _, l := range c.listen {
		if l.class == name {
			cl.urls = append(cl.urls, l.url)
		}
	}
	return cl, cl.openDestinations(ctx, c)
}

// spoolOptions returns the options for the spool of a class, without a logger.
func (c *config) spoolOptions(class string) spool.Options {
	return spool.Options{
		Class:        class,
		Destinations: slices.Sorted(maps.Keys(c.destinations())),
		Forget:       c.forget,
		SegmentBytes: c.segmentBytes.Of(class),
		SegmentAge:   c.segmentAge.Of(class),
		Sync:         c.sync.Of(class).policy,
		SyncInterval: c.sync.Of(class).interval,
		MaxBytes:     c.maxBytes.Of(class),
	}
}

// openDestinations opens every destination for this class alone, so that a class that stalls at a destination delays no other.
func (cl *class) openDestinations(ctx context.Context, c *config) error {
	for dest, u := range c.destinations() {
		d, err := open.Destination(ctx, u, &open.Options{Logger: cl.log.With("destination", dest)})
		if err != nil {
			return fmt.Errorf("%w: %v: %w", errFlags, c.set.Origin("dest", dest), err)
		}
		cl.shipOptions.Destinations[dest] = newSwap(d)
		cl.shipOptions.Limits[dest] = c.limitsOf(dest, cl.name)
	}
	return nil
}

// start opens the spool and binds the sockets; run receives from them. If it returns an error, nothing is left open.
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

// openSpool opens the spool and its shipper. If it returns an error, neither is open.
func (cl *class) openSpool() (err error) {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.spool != nil {
		return nil
	}
	s, err := spool.Open(cl.dir, &cl.spoolOptions)
	if errors.Is(err, spool.ErrOptions) {
		return fmt.Errorf("%w: %w", errFlags, err)
	}
	if err != nil {
		return err
	}
	if cl.shipper, err = ship.New(s, &cl.shipOptions); err != nil {
		return errors.Join(fmt.Errorf("%w: %w", errFlags, err), s.Close())
	}
	cl.spool = s
	return nil
}

// isOpen reports whether the class has its spool.
func (cl *class) isOpen() bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.spool != nil
}

// bind opens the listeners, on the sockets of the predecessor if there is one.
func (cl *class) bind(predecessor *ingest.Inheritance) error {
	for _, u := range cl.urls {
		o := cl.listen
		if predecessor != nil {
			predecessor.Apply(socketName(cl.name, u), &o)
		}
		l, err := ingest.Listen(u, &o)
		if err != nil {
			return err
		}
		cl.listeners = append(cl.listeners, l)
	}
	return nil
}

// run hands a started class to d and receives.
func (cl *class) run(d *drain.Drainer) error {
	if err := cl.add(d); err != nil {
		return errors.Join(err, cl.close())
	}
	cl.serve(cl.spool.Intake(), d)
	return nil
}

// add hands a started class to d, which ships its records and closes it at the end.
func (cl *class) add(d *drain.Drainer) error {
	dc := drain.Class{Shipper: cl.shipper}
	for _, l := range cl.listeners {
		dc.Inputs = append(dc.Inputs, l)
	}
	return d.Add(dc)
}

// serve starts the listeners, which receive into sink.
func (cl *class) serve(sink ingest.Sink, d *drain.Drainer) {
	for i, l := range cl.listeners {
		cl.served.add(socketName(cl.name, cl.urls[i]), l)
		go func() {
			if err := l.Serve(sink); !errors.Is(err, ingest.ErrServerClosed) {
				cl.log.Error("listener ended: nothing more is received there, and readiness says so; restart the service after correcting what err names", "url", cl.urls[i], "err", err)
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
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.spool != nil {
		errs = append(errs, cl.spool.Close())
	}
	cl.spool, cl.shipper, cl.listeners = nil, nil, nil
	return errors.Join(errs...)
}

// retry starts a class again and again until it runs, while the others are running. It logs the first failure, and then one
// line every ten minutes with the number of failures.
func (cl *class) retry(ctx context.Context, d *drain.Drainer, listen bool) {
	began, logged := time.Now(), time.Time{}
	for wait, failures := time.Second, 1; ; wait, failures = min(2*wait, time.Minute), failures+1 {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		err := cl.start(listen)
		if err == nil {
			if err = cl.run(d); err == nil {
				cl.log.Info("class is up: it receives and delivers", "failures", failures, "failing_for", time.Since(began).Round(time.Second))
				return
			}
		}
		if errors.Is(err, drain.ErrEnding) {
			return
		}
		if time.Since(logged) >= 10*time.Minute {
			logged = time.Now()
			cl.log.Error("class is still down, so nothing is received for it; the other classes work: correct what err names", "err", err,
				"failures", failures, "failing_for", time.Since(began).Round(time.Second), "again_in", wait)
		}
		d.Down(cl.name, err)
	}
}
