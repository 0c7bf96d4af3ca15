package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool"
)

const (
	// heldEvery is the interval at which a spool that another process has open is checked.
	heldEvery = 250 * time.Millisecond
	// heldWait is how long a drain of this process waits for such a spool: longer than "collector check" and other programs keep
	// a spool open to inspect it.
	heldWait = 10 * time.Second
	// keptEvery is how often it is looked at afterwards, and leftFor how long it must then be unlocked before it is delivered here:
	// its owner may be restarting, and must find it unlocked.
	keptEvery = 10 * time.Second
	leftFor   = 2 * time.Minute
)

// leftClasses lists the classes without a -listen that have something to deliver in a spool below -spool. They are delivered
// like the others, because an instance whose drain is complete loses its disk. A spool that cannot be inspected counts, because
// it may hold anything. held lists the classes whose spools another process has open; err says why some may be missing.
func leftClasses(c *config) (owing, held []string, err error) {
	entries, err := os.ReadDir(c.spoolDir)
	if errors.Is(err, fs.ErrNotExist) { // the first spool creates the directory
		err = nil
	}
	for _, e := range entries {
		name := e.Name()
		if !classPattern.MatchString(name) || slices.Contains(c.classes, name) {
			continue
		}
		switch owed, err := owesIn(filepath.Join(c.spoolDir, name)); {
		case errors.Is(err, spool.ErrLocked):
			held = append(held, name)
		case owed:
			owing = append(owing, name)
		}
	}
	return owing, held, err
}

// owesIn reports whether there is a spool in dir that has something to deliver or cannot be inspected.
func owesIn(dir string) (bool, error) {
	fi, err := os.Stat(dir)
	if err == nil && !fi.IsDir() {
		return false, nil
	}
	var in *spool.Inspection
	if err == nil {
		in, err = spool.Inspect(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err != nil || owes(in), err
}

// owes reports whether a spool has something to deliver, has damage that was not given up, or has a delivery that an earlier
// drain could not verify.
func owes(in *spool.Inspection) bool {
	if !in.Adopted.IsZero() {
		return false
	}
	for _, d := range in.Destinations {
		if d.Pending.Records > 0 && !d.Forgotten {
			return true
		}
	}
	if slices.ContainsFunc(in.Damages, func(x spool.Damage) bool { return !x.GivenUp }) {
		return true // the report must name the damage
	}
	return in.Frozen != "" || len(in.Destinations) == 0 && in.Records > 0
}

// errHeld is the readiness error for a spool without a -listen that another process has open.
var errHeld = errors.New("another process has its spool open, and it may have records to deliver")

// runLeft starts to deliver the classes of leftClasses, and returns them. A class that cannot be opened is down, like any other
// class. predecessor reports whether the process that this one replaces still exists.
func runLeft(ctx context.Context, c *config, d *drain.Drainer, log *slog.Logger, predecessor func() bool) (left []*class) {
	owing, held, err := leftClasses(c)
	if err != nil {
		log.Error("the directory of -spool cannot be read, so spools without -listen in it are not delivered, and no drain is complete: correct what err names, and restart", "dir", c.spoolDir, "err", err)
		d.Down("without -listen", err)
	}
	for _, name := range slices.Concat(owing, held) {
		cl, err := newClass(ctx, c, name, log)
		left = append(left, cl)
		if err == nil && slices.Contains(held, name) {
			d.Down(name, errHeld)
			go cl.await(ctx, d, predecessor)
			continue
		}
		cl.deliver(ctx, d, err)
	}
	return left
}

// deliver starts to deliver a class without a listener. If err is not nil, the class is down and retried instead.
func (cl *class) deliver(ctx context.Context, d *drain.Drainer, err error) {
	if err == nil {
		cl.log.Warn("delivering a class without -listen: its spool has pending records; nothing needs to be done")
		if err = cl.start(false); err == nil {
			err = cl.run(d)
		}
	}
	if err != nil {
		cl.log.Error("a class without -listen is down, and its pending records wait; it is tried again: correct what err names", "err", err)
		d.Down(cl.name, err)
		go cl.retry(ctx, d, false)
	}
}

// await delivers a class once the other process that has its spool open has closed it. The predecessor closes all of its
// spools, and a program that only inspects a spool closes it soon. A process that keeps it open for longer may be another
// collector with the same -spool, which delivers that spool itself. So drains of this process then no longer wait for it: two
// such collectors would make each other's drains incomplete. It may also be a repair, after which nobody else delivers the spool.
func (cl *class) await(ctx context.Context, d *drain.Drainer, predecessor func() bool) {
	tick := time.NewTicker(heldEvery)
	defer tick.Stop()
	kept, locked := false, time.Now() // when it was last found locked
	for since := time.Now(); ; {
		if predecessor() {
			since = time.Now()
		}
		if kept && isOpen(cl.dir) { // without taking the lock, which a restarting owner must find free
			locked = time.Now()
		}
		var owed bool
		var err error
		if !kept || time.Since(locked) >= leftFor {
			owed, err = owesIn(cl.dir)
		}
		if errors.Is(err, spool.ErrLocked) { // also by a process that the system does not show here
			locked = time.Now()
		}
		switch {
		case kept && time.Since(locked) < leftFor:
		case !errors.Is(err, spool.ErrLocked) && owed:
			cl.deliver(ctx, d, nil)
			return
		case !errors.Is(err, spool.ErrLocked):
			d.Down(cl.name, nil)
			return
		case !kept && time.Since(since) >= heldWait:
			cl.log.Warn("another process keeps the spool of a class without -listen open: it is delivered here two minutes after that process has closed it, and a drain of this process does not wait for it", "err", err)
			d.Down(cl.name, nil)
			kept = true
			tick.Reset(keptEvery)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// isOpen reports whether the system shows a process that has the spool in dir open.
func isOpen(dir string) bool {
	d, err := spool.ReadDirectory(dir)
	return err == nil && d.Open
}
