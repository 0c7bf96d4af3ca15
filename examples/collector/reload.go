package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship/open"
)

// At SIGHUP the settings are read again, from the same command line, environment and file. Unless all of them are usable,
// nothing changes. The service applies the changes that it can make while records flow. It logs every other change: those need
// a new process, which SIGUSR2 starts without losing a record.

// reloadNow reloads the settings, and tells systemd.
func (s *service) reloadNow(ctx context.Context) {
	if err := reloading(); err != nil {
		s.log.Warn("reload: cannot tell systemd that it begins, so systemctl reload may report a failure; it continues", "err", err)
	}
	s.reload(ctx)
	if err := reloaded(); err != nil {
		s.log.Warn("reload: cannot tell systemd that it has ended, so systemctl reload waits for its time-out", "err", err)
	}
}

// wake makes a channel readable, unless it is already.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// reload reads the settings and applies what it can.
func (s *service) reload(ctx context.Context) {
	if phase := s.drainer.Stats().Phase; phase != drain.PhaseRun {
		s.log.Warn("reload: the process is ending, so the settings are not read again; the next process reads them", "phase", phase)
		return
	}
	next, err := parseFlags(s.c.args, io.Discard)
	if err != nil {
		s.log.Error("reload: the new settings cannot be used, so nothing has changed; correct them (collector check lists all mistakes), and send SIGHUP again",
			"err", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	r := &renewal{service: s, ctx: ctx, next: next}
	r.level()
	r.limits()
	r.destinations()
	r.rest()
	for _, cl := range s.all() {
		cl.tryAgain() // an operator who has corrected a key does not want to wait for the next attempt
	}
	if len(r.refused) > 0 {
		s.log.Warn("reload: some changes are not in effect: they take a new process, which SIGUSR2 starts without losing a record, or a restart",
			"applied", r.applied, "refused", r.refused)
		return
	}
	s.log.Info("reload: the settings are in effect, and destinations that fail are tried again now", "applied", r.applied)
}

// all returns the classes, including those without a listener.
func (s *service) all() []*class { return append(slices.Clone(s.classes), s.left...) }

// renewal is one reload.
type renewal struct {
	*service
	ctx     context.Context // the context of the service
	next    *config
	applied []string
	refused []string // with the reason
}

func (r *renewal) apply(format string, a ...any) {
	r.applied = append(r.applied, fmt.Sprintf(format, a...))
}

func (r *renewal) refuse(format string, a ...any) {
	r.refused = append(r.refused, fmt.Sprintf(format, a...))
}

// level applies -log-level.
func (r *renewal) level() {
	if r.next.logLevel != r.c.logLevel {
		r.apply("log-level: %s, was %s", r.next.logLevel, r.c.logLevel)
		r.c.setLevel(r.next.logLevel)
	}
}

// limits applies -limit.
func (r *renewal) limits() {
	before, after := r.c.currentLimits(), r.next.limits
	for _, of := range slices.Sorted(maps.Keys(merged(before, after))) {
		switch was, is := before[of], after[of]; {
		case was == is:
		case is == 0:
			r.apply("limit %s: none", of)
		default:
			r.apply("limit %s: %d bytes/s", of, is)
		}
	}
	r.c.setLimits(after)
}

// merged has the keys of both maps.
func merged[V any](a, b map[string]V) map[string]V {
	m := maps.Clone(a)
	maps.Copy(m, b)
	return m
}

// destinations applies -dest: new destinations join, and a destination with another URL for the same place gets another driver.
func (r *renewal) destinations() {
	before, after := r.c.destinations(), r.next.dests
	for _, name := range slices.Sorted(maps.Keys(merged(before, after))) {
		was, is := before[name], after[name]
		if was == is {
			continue
		}
		does, change := "is served now", (*class).join
		switch {
		case is == "":
			r.refuse("dest %s: removed here and still served, since records may be pending for it; a new process does not start without it either, unless -forget %s gives them up", name, name)
			continue
		case was != "":
			does, change = "uses its new parameters", (*class).replace
		}
		if err := r.inEach(change, name, is); err != nil {
			r.refuse("dest %s: %v", name, err)
			continue
		}
		r.c.setDestination(name, is)
		r.apply("dest %s: %s", name, does)
	}
}

// inEach changes a destination of every class. It stops at the first error, because the same URL has the same mistake for each
// class; repeating the reload continues.
func (r *renewal) inEach(change func(*class, context.Context, *config, string, string) error, name, url string) error {
	for _, cl := range r.all() {
		if err := change(cl, r.ctx, r.c, name, url); err != nil {
			return fmt.Errorf("class %s: %w", cl.name, err)
		}
	}
	return nil
}

// rest names the changes that cannot be applied.
func (r *renewal) rest() {
	for _, name := range r.next.set.Changed(r.c.set) {
		switch name {
		case "log-level", "limit", "dest", "config":
		case "listen":
			r.refuse("listen: sockets belong to the process; a certificate or key that was renewed under its old name is used without a reload")
		case "sign":
			r.refuse("sign: a chain is signed by one key while a process runs")
		default:
			r.refuse("%s: it is read at the start only", name)
		}
	}
	if !slices.Contains(r.next.set.Changed(r.c.set), "sign") && !sameKey(r.next.key, r.c.key) {
		r.refuse("sign: the file has another key; a chain is signed by one key while a process runs")
	}
}

// sameKey compares signing keys, which may be missing.
func sameKey(a, b ed25519.PrivateKey) bool { return string(a) == string(b) }

// join adds a destination to a class. If the class is down, its next attempt to open the spool uses the destination.
func (cl *class) join(ctx context.Context, c *config, name, url string) error {
	if cl.serves(name) { // since an earlier reload, which failed at another class; the URL may differ
		return cl.replace(ctx, c, name, url)
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	d, err := open.Destination(ctx, url, &open.Options{Logger: cl.log.With("destination", name)})
	if err != nil {
		return err
	}
	swap, limits := newSwap(d), c.limitsOf(name, cl.name)
	if cl.shipper != nil {
		if err := cl.shipper.Join(name, swap, limits...); err != nil {
			_ = closeDestination(d) // it was not used
			return err
		}
	}
	cl.shipOptions.Destinations, cl.shipOptions.Limits = maps.Clone(cl.shipOptions.Destinations), maps.Clone(cl.shipOptions.Limits)
	cl.shipOptions.Destinations[name], cl.shipOptions.Limits[name] = swap, limits
	cl.spoolOptions.Destinations = append(slices.Clone(cl.spoolOptions.Destinations), name)
	return nil
}

// serves reports whether the class has a destination.
func (cl *class) serves(name string) bool {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	return cl.shipOptions.Destinations[name] != nil
}

// replace gives a destination of a class another driver for the same place.
func (cl *class) replace(ctx context.Context, _ *config, name, url string) error {
	d, err := open.Destination(ctx, url, &open.Options{Logger: cl.log.With("destination", name)})
	if err != nil {
		return err
	}
	cl.mu.Lock()
	defer cl.mu.Unlock()
	s, ok := cl.shipOptions.Destinations[name].(*swap)
	if !ok {
		return fmt.Errorf("class %s has no destination %s", cl.name, name)
	}
	if err := s.replace(d); err != nil {
		_ = closeDestination(d) // it was not used
		return err
	}
	return nil
}

// tryAgain makes a class retry every destination now.
func (cl *class) tryAgain() {
	cl.mu.Lock()
	defer cl.mu.Unlock()
	if cl.shipper != nil {
		cl.shipper.ResetBackoff()
	}
}
