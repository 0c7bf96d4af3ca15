package drain

import (
	"context"
	"maps"
	"slices"

	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/spool/segment"
)

// Adoptions are the spools of other instances that this process delivers besides its own (see Adopt). This host holds the
// only copy of them, so a Drain waits for them as for the classes, and is not complete while one of them owes a
// destination records.
type Adoptions interface {
	// Pending lists the spools that are not delivered yet, including those that could not be read. It must return at once.
	Pending() []Adoption
	// Wait returns when no destination is owed anything, or with the error of ctx. It is called in a Drain: from then on
	// no new adoption begins, and failed ones are retried soon.
	Wait(ctx context.Context) error
	// Stop ends the adoptions in progress. Another process, on this or another host, continues them.
	Stop(ctx context.Context) error
}

// Adoption is a spool that another process has left, and that this process has not delivered yet.
type Adoption struct {
	Dir   string `json:"dir"`
	Class string `json:"class,omitempty"`
	Spool string `json:"spool,omitempty"`
	// Pending by destination; empty if it is unknown because nothing could be read yet.
	Pending map[string]segment.Tally `json:"pending,omitempty"`
	// Why is the reason why it is not delivered.
	Why string `json:"why"`
}

// pending sums up what is pending for all destinations.
func (a *Adoption) pending() (t segment.Tally) {
	for _, o := range a.Pending {
		t.Add(o)
	}
	return t
}

// describePending formats the pending records of each destination for people.
func (a *Adoption) describePending() string {
	if len(a.Pending) == 0 {
		return "unknown"
	}
	s := ""
	for i, dest := range slices.Sorted(maps.Keys(a.Pending)) {
		if i > 0 {
			s += "; "
		}
		s += dest + ": " + units.Records(a.Pending[dest].Records, a.Pending[dest].Bytes)
	}
	return s
}

// adoptions returns the adopted spools that are not delivered yet.
func (d *Drainer) adoptions() (owed []Adoption) {
	if d.o.Adoptions == nil {
		return nil
	}
	if err := d.catch("Adoptions.Pending", func() error { owed = d.o.Adoptions.Pending(); return nil }); err != nil {
		return []Adoption{{Why: err.Error()}}
	}
	return owed
}

// awaitAdoptions waits for the adopted spools, in the phase ship.
func (r *run) awaitAdoptions(ctx context.Context) error {
	if r.d.o.Adoptions == nil {
		return nil
	}
	return r.d.catch("Adoptions.Wait", func() error { return r.d.o.Adoptions.Wait(ctx) })
}

// stopAdoptions ends the adoptions in progress, once.
func (r *run) stopAdoptions(ctx context.Context) {
	if r.d.o.Adoptions == nil || r.adopted {
		return
	}
	r.adopted = true
	ctx, cancel := context.WithTimeout(ctx, adoptionsTimeout)
	defer cancel()
	if err := r.bounded(ctx, 0, func() error { return r.d.o.Adoptions.Stop(ctx) }); err != nil {
		r.log.Error("drain: cannot end the adoptions in time; they continue at the next start, here or on another host", "err", err)
	}
}

// adoptionsTimeout bounds Adoptions.Stop.
const adoptionsTimeout = closeTimeout
