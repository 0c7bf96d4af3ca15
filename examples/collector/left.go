package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool"
)

// leftClasses lists the classes without a -listen that have a spool below -spool with something to deliver. They are delivered
// like the others, because an instance whose drain is complete loses its disk.
func leftClasses(c *config) (names []string) {
	entries, _ := os.ReadDir(c.spoolDir) // the directory may not exist yet
	for _, e := range entries {
		name, dir := e.Name(), filepath.Join(c.spoolDir, e.Name())
		if fi, err := os.Stat(dir); err != nil || !fi.IsDir() || !classPattern.MatchString(name) || slices.Contains(c.classes, name) {
			continue
		}
		in, err := spool.Inspect(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, spool.ErrLocked) || err == nil && !owes(in) {
			continue // no spool, one that another process uses, or one with nothing to deliver
		}
		names = append(names, name)
	}
	return names
}

// owes reports whether a spool has something to deliver, or an earlier drain could not verify a delivery.
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

// runLeft starts to deliver the classes of leftClasses, and returns them. One that cannot be opened is down, like any other class.
func runLeft(ctx context.Context, c *config, d *drain.Drainer, log *slog.Logger) (left []*class) {
	for _, name := range leftClasses(c) {
		cl, err := newClass(ctx, c, name, log)
		if err == nil {
			log.Warn("delivering a class without -listen: its spool has pending records; nothing needs to be done", "class", name)
			if err = cl.start(false); err == nil {
				err = cl.run(d)
			}
		}
		if err != nil {
			log.Error("a class without -listen is down, and its pending records wait; it is tried again: correct what err names", "class", name, "err", err)
			d.Down(name, err)
		}
		if cl == nil {
			continue
		}
		if left = append(left, cl); err != nil {
			go cl.retry(ctx, d, false)
		}
	}
	return left
}
