package drain

import (
	"context"
	"maps"
	"slices"

	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/spool/segment"
)

// Adoptions are the spools of other instances that this process delivers beside its own (see Adopt). What such a volume holds
// is on this host alone, so a Drain waits for it as it waits for the classes, and is not complete while something is owed.
type Adoptions interface {
	// Owed lists the spools that are not delivered yet, those that could not be looked at included. It must return at once.
	Owed() []Adoption
	// Wait returns when nothing is owed any more, or with the error of ctx. It is called in a Drain: nothing new is
	// begun after it, and what failed before is tried again soon.
	Wait(ctx context.Context) error
	// Stop ends what is under way. Another process, here or elsewhere, goes on with it.
	Stop(ctx context.Context) error
}

// Adoption is a spool that another process has left, and that this one has not delivered yet.
type Adoption struct {
	Dir   string `json:"dir"`
	Class string `json:"class,omitempty"`
	Spool string `json:"spool,omitempty"`
	// Owed by destination; empty if it is not known, since nothing could be read yet.
	Owed map[string]segment.Tally `json:"owed,omitempty"`
	// Why it is not delivered.
	Why string `json:"why"`
}

// pending sums up what is owed.
func (a *Adoption) pending() (t segment.Tally) {
	for _, o := range a.Owed {
		t.Add(o)
	}
	return t
}

// owed writes what is owed for people.
func (a *Adoption) owed() string {
	if len(a.Owed) == 0 {
		return "unknown"
	}
	s := ""
	for i, dest := range slices.Sorted(maps.Keys(a.Owed)) {
		if i > 0 {
			s += "; "
		}
		s += dest + ": " + units.Records(a.Owed[dest].Records, a.Owed[dest].Bytes)
	}
	return s
}

// adoptions returns what is owed of adopted spools.
func (d *Drainer) adoptions() (owed []Adoption) {
	if d.o.Adoptions == nil {
		return nil
	}
	if err := catch(func() error { owed = d.o.Adoptions.Owed(); return nil }); err != nil {
		return []Adoption{{Why: err.Error()}}
	}
	return owed
}

// awaitAdoptions waits for the adopted spools in the phase that ships.
func (r *run) awaitAdoptions(ctx context.Context) error {
	if r.d.o.Adoptions == nil {
		return nil
	}
	return catch(func() error { return r.d.o.Adoptions.Wait(ctx) })
}

// stopAdoptions ends the adoptions that are under way, once.
func (r *run) stopAdoptions(ctx context.Context) {
	if r.d.o.Adoptions == nil || r.adopted {
		return
	}
	r.adopted = true
	ctx, cancel := context.WithTimeout(ctx, adoptionsTimeout)
	defer cancel()
	if err := r.bounded(ctx, 0, func() error { return r.d.o.Adoptions.Stop(ctx) }); err != nil {
		r.log.Error("ending the adoptions", "err", err)
	}
}

// adoptionsTimeout bounds their end.
const adoptionsTimeout = closeTimeout
