package main

import (
	"errors"
	"fmt"
	"io"
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

// orphan is a spool that was found. adoptions.mu guards it. Its JSON is an entry of /adoptions.
type orphan struct {
	at fs.FileInfo // see identity

	Dir      string                   `json:"dir"`
	Class    string                   `json:"class,omitempty"`
	Spool    string                   `json:"spool,omitempty"`
	State    string                   `json:"state"`           // waiting, delivering, delivered
	Phase    string                   `json:"phase,omitempty"` // of the drain
	Attempts int                      `json:"attempts"`
	Pending  uint64                   `json:"pending_records"` // summed over destinations
	Owed     map[string]segment.Tally `json:"owed,omitempty"`  // by destination
	ETA      time.Duration            `json:"eta_ns,omitempty"`
	// Err says why it is not delivered: of the last attempt, or of the one that goes on.
	Err  string     `json:"error,omitempty"`
	Next *time.Time `json:"next_attempt,omitempty"`
}

// owes sets what is owed.
func (o *orphan) owes(by map[string]segment.Tally) {
	o.Owed, o.Pending = by, 0
	for _, t := range by {
		o.Pending += t.Records
	}
}

// note changes what is known of an orphan, and reports whether it is still the one of its name.
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
	for wait := adoptFirst; ; wait = min(2*wait, adoptLast) {
		select {
		case a.slot <- struct{}{}:
		case <-a.ctx.Done():
			return
		}
		if !a.note(o, func() { o.State, o.Attempts, o.Next = "delivering", o.Attempts+1, nil }) {
			<-a.slot
			return // it is gone
		}
		began := time.Now()
		r, err := a.attempt(o)
		<-a.slot
		done := errors.Is(err, spool.ErrAdopted) || r != nil && r.Outcome == drain.Complete && !errors.Is(err, ship.ErrFenced)
		if !done && a.gone(o) {
			return
		}
		pause, rush := wait, a.rush
		select {
		case <-rush: // somebody waits
			pause, rush = adoptFirst, nil
		default:
		}
		if a.ended(o, r, err, done, pause) {
			a.logDone(log, err, time.Since(began))
			return
		}
		switch {
		case a.ctx.Err() != nil:
			return
		case errors.Is(err, ship.ErrFenced):
			log.Warn("another adopter is at work; looking again", "err", err, "again_in", pause)
		default:
			log.Error("not adopted yet, trying again", "err", whyNot(r, err), "again_in", pause)
		}
		t := time.NewTimer(pause)
		select {
		case <-t.C:
		case <-rush:
		case <-a.ctx.Done():
		}
		t.Stop()
	}
}

// gone forgets a spool whose directory is not there any more, and returns whether it did.
func (a *adoptions) gone(o *orphan) bool {
	if _, err := identity(o.Dir); !errors.Is(err, fs.ErrNotExist) {
		return false
	}
	a.note(o, func() {
		if a.seen[o.Dir] == o {
			delete(a.seen, o.Dir)
		}
	})
	return true
}

// ended notes how an attempt has ended, and returns whether it was the last one.
func (a *adoptions) ended(o *orphan, r *drain.Report, err error, done bool, wait time.Duration) bool {
	next := time.Now().Add(wait)
	a.note(o, func() {
		o.State, o.Phase, o.ETA, o.Err = "waiting", "", 0, whyNot(r, err)
		if done {
			o.State, o.Pending, o.Owed = "delivered", 0, nil
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
			owed := map[string]segment.Tally{}
			for dest, d := range c.Destinations {
				owed[dest] = d.Pending
			}
			o.owes(owed)
		}
	})
	return done
}

func (a *adoptions) logDone(log *slog.Logger, err error, took time.Duration) {
	switch {
	case errors.Is(err, spool.ErrAdopted):
		log.Info("nothing to adopt: delivered before", "err", err)
	case err != nil:
		log.Warn("adopted: everything is delivered and verified, but the volume cannot be marked", "err", err)
	default:
		log.Info("adopted: everything is delivered and verified, the volume can go", "took", took.Round(time.Millisecond))
	}
}

// inspect notes what a spool that was found owes, for as long as there is no report of it.
func (a *adoptions) inspect(o *orphan) {
	a.asking.Lock()
	defer a.asking.Unlock()
	if a.ctx.Err() != nil {
		return
	}
	in, err := spool.Inspect(o.Dir)
	a.note(o, func() {
		o.Err = "waits for other adoptions to end"
		if err != nil {
			o.Err = err.Error()
			return
		}
		o.Class, o.Spool = in.Class, in.SpoolID
		owed := map[string]segment.Tally{}
		for dest, d := range in.Destinations {
			if !d.Forgotten {
				owed[dest] = d.Owed
			}
		}
		o.owes(owed)
	})
}

// whyNot says why an attempt has not delivered everything.
func whyNot(r *drain.Report, err error) string {
	switch {
	case err != nil:
		return err.Error()
	case r == nil:
		return ""
	}
	return fmt.Sprintf("%s: %s", r.Outcome, whatIsLeft(r))
}

// whatIsLeft says why an adoption is incomplete: what is not delivered, and what is damaged until the operator gives it up.
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

// attempt has its own connections: a volume that takes days holds up no class.
func (a *adoptions) attempt(o *orphan) (*drain.Report, error) {
	dests := map[string]ship.Destination{}
	defer func() {
		for _, d := range dests {
			if c, ok := d.(io.Closer); ok {
				_ = c.Close()
			}
		}
	}()
	for name, u := range a.c.dests {
		d, err := open.Destination(a.ctx, u, &open.Options{Logger: a.log})
		if err != nil {
			return nil, fmt.Errorf("-dest %s: %w", name, err)
		}
		dests[name] = d
	}
	return drain.Adopt(a.ctx, o.Dir, &drain.AdoptOptions{
		Work: filepath.Join(a.c.spoolDir, adoptWork), Destinations: dests, Forget: a.c.forget, MaxBytes: a.maxBytes(), StallTimeout: stallTimeout,
		Ship: ship.Options{Patience: a.c.adoptPatience},
		Class: func(class string, s *ship.Options) {
			s.Format, s.Codec, s.Level = a.c.format.of(class), a.c.codec.of(class).name, a.c.codec.of(class).level
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

// maxBytes is -adopt-max-bytes, or what the classes leave of the file system.
func (a *adoptions) maxBytes() int64 {
	_, total, err := fileSystem(a.c.spoolDir)
	if a.c.adoptMaxBytes > 0 || err != nil {
		return a.c.adoptMaxBytes
	}
	return max(total/20, 256<<20)
}

// progress notes how far an attempt is, and what holds it up.
func (o *orphan) progress(p drain.Status) {
	o.Phase, o.ETA, o.Err = p.Phase, p.ETA, ""
	owed := map[string]segment.Tally{}
	for _, dest := range slices.Sorted(maps.Keys(p.Destinations)) {
		d := p.Destinations[dest]
		owed[dest] = d.Pending
		if d.Err != nil && d.Pending.Records > 0 {
			o.Err = strings.TrimPrefix(o.Err+"; "+dest+": "+d.Err.Error(), "; ")
		}
	}
	o.owes(owed)
}
