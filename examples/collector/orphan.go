package main

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// orphan is a spool that was found below -adopt. adoptions.mu guards it. Its JSON is an entry of /adoptions.
type orphan struct {
	at sight

	Dir      string                   `json:"dir"`
	Class    string                   `json:"class,omitempty"`
	Spool    string                   `json:"spool,omitempty"`
	State    string                   `json:"state"`           // waiting, delivering, delivered
	Phase    string                   `json:"phase,omitempty"` // the phase of the drain
	Attempts int                      `json:"attempts"`
	Pending  map[string]segment.Tally `json:"pending,omitempty"` // by destination
	Records  uint64                   `json:"pending_records"`   // the sum over Pending
	ETA      time.Duration            `json:"eta_ns,omitempty"`
	// Err says why the spool is not delivered, from the last attempt or the current one.
	Err  string     `json:"error,omitempty"`
	Next *time.Time `json:"next_attempt,omitempty"`
}

// setPending sets the pending records of each destination.
func (o *orphan) setPending(by map[string]segment.Tally) {
	o.Pending, o.Records = by, 0
	for _, t := range by {
		o.Records += t.Records
	}
}

// note calls f to change an orphan, and reports whether it is still the orphan known for its directory.
func (a *adoptions) note(o *orphan, f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	a.notify()
	return a.seen[o.Dir] == o
}

// adopt tries until everything is delivered, or the directory is gone.
func (a *adoptions) adopt(o *orphan) {
	log := a.log.With("adopting", o.Dir)
	a.inspect(o)
	since := time.Now()
	for wait, failures := adoptFirst, 1; ; wait, failures = min(2*wait, adoptLast), failures+1 {
		select {
		case a.slot <- struct{}{}:
		case <-a.ctx.Done():
			return
		}
		current := a.note(o, func() { o.State, o.Attempts, o.Next = "delivering", o.Attempts+1, nil })
		if !current {
			<-a.slot
			return // the directory is gone, or holds another spool
		}
		began := time.Now()
		a.lookAgain(o)
		r, err := a.attempt(o)
		<-a.slot
		done := errors.Is(err, spool.ErrAdopted) || r != nil && r.Outcome == drain.Delivered && !errors.Is(err, ship.ErrFenced)
		if !done && a.gone(o) {
			return
		}
		pause, rush := wait, a.rush
		select {
		case <-rush: // a drain waits for the adoptions
			pause, rush = adoptFirst, nil
		default:
		}
		if a.noteAttempt(o, r, err, done, pause) {
			a.logDone(log, err, time.Since(began))
			return
		}
		if a.ctx.Err() != nil {
			return
		}
		logFailed(log.With("failures", failures, "failing_for", time.Since(since).Round(time.Second)), r, err, pause)
		a.pause(pause, rush)
	}
}

// lookAgain records, before an attempt, when the spool was last used. If the owner writes later, this attempt may not deliver
// that.
func (a *adoptions) lookAgain(o *orphan) {
	if at, err := identity(o.Dir); err == nil {
		a.note(o, func() { o.at.used = at.used })
	}
}

// pause waits before the next attempt. The beginning of a drain, or Stop, ends the wait.
func (a *adoptions) pause(d time.Duration, rush <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-rush:
	case <-a.ctx.Done():
	}
}

// logFailed logs why an attempt did not deliver everything.
func logFailed(log *slog.Logger, r *drain.Report, err error, again time.Duration) {
	if errors.Is(err, ship.ErrFenced) {
		log.Warn("another adopter is delivering this spool; checking again later", "err", err, "again_in", again)
		return
	}
	log.Error("not adopted yet; will retry, and its records stay on the volume until then: correct what err names, and do not delete the volume", "err", whyNot(r, err), "again_in", again)
}

// gone forgets a spool whose directory no longer exists, and reports whether it did.
func (a *adoptions) gone(o *orphan) bool {
	if _, err := identity(o.Dir); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	a.note(o, func() {
		if a.seen[o.Dir] == o {
			delete(a.seen, o.Dir)
			delete(a.roots, o.Dir) // look, which finds such a directory again, may have ended
		}
	})
	return true
}

// noteAttempt notes how an attempt ended, and returns done.
func (a *adoptions) noteAttempt(o *orphan, r *drain.Report, err error, done bool, wait time.Duration) bool {
	next := time.Now().Add(wait)
	a.note(o, func() {
		o.State, o.Phase, o.ETA, o.Err = "waiting", "", 0, whyNot(r, err)
		if done {
			o.State, o.Records, o.Pending = "delivered", 0, nil
			delete(a.roots, o.Dir)
			if r != nil && err == nil {
				o.Err = ""
			}
			return
		}
		o.Next = &next
		if r == nil {
			return
		}
		for class, c := range r.Classes {
			o.Class, o.Spool = class, c.Spool
			pending := map[string]segment.Tally{}
			for dest, d := range c.Destinations {
				pending[dest] = d.Pending
			}
			o.setPending(pending)
		}
	})
	return done
}

// logDone logs that a spool is delivered.
func (a *adoptions) logDone(log *slog.Logger, err error, took time.Duration) {
	switch {
	case errors.Is(err, spool.ErrAdopted):
		log.Info("nothing to adopt: an earlier adoption has delivered everything", "err", err)
	case err != nil:
		log.Warn("adopted: everything is delivered and verified, but the volume cannot be marked", "err", err)
	default:
		log.Info("adopted: everything is delivered and verified; the volume can be deleted", "took", took.Round(time.Millisecond))
	}
}

// inspect records what is pending in a spool that was found; a report replaces that later.
func (a *adoptions) inspect(o *orphan) {
	a.inspecting.Lock()
	defer a.inspecting.Unlock()
	if a.ctx.Err() != nil {
		return
	}
	in, err := spool.Inspect(o.Dir)
	a.note(o, func() {
		o.Err = "waiting for other adoptions to end"
		if err != nil {
			o.Err = err.Error()
			return
		}
		o.Class, o.Spool = in.Class, in.Spool
		pending := map[string]segment.Tally{}
		for dest, d := range in.Destinations {
			if !d.Forgotten {
				pending[dest] = d.Pending
			}
		}
		o.setPending(pending)
	})
}

// whyNot says why an attempt did not deliver everything.
func whyNot(r *drain.Report, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case r == nil:
		return ""
	}
	return fmt.Sprintf("%s: %s", r.Outcome, whatIsLeft(r))
}

// whatIsLeft says why an adoption is incomplete: which records are not delivered, and which damaged ones are not given up.
func whatIsLeft(r *drain.Report) string {
	var why []string
	if len(r.Left) > 0 {
		l := r.Left[0]
		why = append(why, fmt.Sprintf("%d leftovers, the first: records %d to %d, not at %s: %s", len(r.Left), l.First, l.Last, l.Destination, l.Why))
	}
	for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
		for _, x := range r.Classes[class].Damages {
			if !x.GivenUp {
				why = append(why, fmt.Sprintf("class %s, segment %d: %d damaged records, which are not given up (collector give-up -h says how): %s", class, x.Segment, x.Records, x.Why))
			}
		}
	}
	return strings.Join(append(why, r.Errors...), "; ")
}

// attempt delivers a spool over its own connections, so that a volume that takes days to deliver delays no class.
func (a *adoptions) attempt(o *orphan) (*drain.Report, error) {
	dests := map[string]ship.Destination{}
	defer func() {
		for _, d := range dests {
			_ = closeDestination(d)
		}
	}()
	for name, u := range a.c.destinations() {
		d, err := open.Destination(a.ctx, u, &open.Options{Logger: a.log})
		if err != nil {
			return nil, fmt.Errorf("-dest %s: %w", name, err)
		}
		dests[name] = d
	}
	return drain.Adopt(a.ctx, o.Dir, &drain.AdoptOptions{
		Work: filepath.Join(a.c.spoolDir, adoptWork), Destinations: dests, Forget: a.c.forget, MaxBytes: a.maxBytes(), StallTimeout: stallTimeout,
		Ship: ship.Options{OwnerTimeout: a.c.adoptPatience},
		Class: func(class string, s *ship.Options) {
			s.Format, s.Codec, s.Level = a.c.format.Of(class), a.c.codec.Of(class).name, a.c.codec.Of(class).level
			if a.c.key != nil {
				s.Signer = a.c.key
			}
		},
		Update: func(p drain.Status) {
			a.note(o, func() { o.progress(p) })
		},
		Logger: a.log,
	})
}

// maxBytes is -adopt-max-bytes, by default half of the 10 % of the file system that shareDisk leaves.
func (a *adoptions) maxBytes() int64 {
	_, total, err := fileSystem(a.c.spoolDir)
	if a.c.adoptMaxBytes > 0 || err != nil {
		return a.c.adoptMaxBytes
	}
	return max(total/20, 256<<20)
}

// progress records the progress of an attempt, and what delays it.
func (o *orphan) progress(p drain.Status) {
	o.Phase, o.ETA, o.Err = p.Phase, p.ETA, ""
	pending := map[string]segment.Tally{}
	for _, dest := range slices.Sorted(maps.Keys(p.Destinations)) {
		d := p.Destinations[dest]
		pending[dest] = d.Pending
		if d.Err != nil && d.Pending.Records > 0 {
			o.Err = strings.TrimPrefix(o.Err+"; "+dest+": "+d.Err.Error(), "; ")
		}
	}
	o.setPending(pending)
}
