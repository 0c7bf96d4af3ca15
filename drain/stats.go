package drain

import (
	"maps"
	"slices"
	"time"
)

// Stats is a snapshot of a Drainer.
type Stats struct {
	// Classes are the classes that run, in the order in which they were added.
	Classes []Class
	// Down has the classes that do not run at present, each with the reason.
	Down map[string]error
	// Phase as in the package documentation: PhaseRun until the end begins, PhaseHandOver in a HandOver.
	Phase string
	// Intent, Trigger and Started say how the end began; Deadline is when its report must be written. They are zero before
	// the end and in a HandOver.
	Intent   Intent
	Trigger  string
	Started  time.Time
	Deadline time.Time
	// Idle is how long nothing has moved since the end began.
	Idle time.Duration
	// Phases lists the completed phases of the end.
	Phases []Phase
	// Outcome of the latest report, empty before the first. On an instance that the platform retains, more reports may follow.
	Outcome Outcome
	// Retained means that the platform leaves the instance running although its drain is not complete.
	Retained bool
	// Adoptions lists the adopted spools that are not delivered yet (Options.Adoptions).
	Adoptions []Adoption
	// Instance is Options.Instance or its default.
	Instance string
	// Panics counts the panics in the program's own code since the Drainer was made.
	Panics uint64
}

// Stats returns a snapshot. It is cheap enough to call each second.
func (d *Drainer) Stats() Stats {
	d.mu.Lock()
	st := Stats{Down: maps.Clone(d.down), Phase: PhaseRun, Instance: d.o.Instance, Panics: d.panics.Load()}
	for _, c := range d.classes {
		st.Classes = append(st.Classes, c.Class)
	}
	r := d.end
	if d.ending && r == nil {
		st.Phase = PhaseHandOver
	}
	d.mu.Unlock()
	if r != nil {
		r.describe(&st)
	}
	st.Adoptions = d.adoptions() // calls the program's own code
	return st
}

// describe fills in the progress of the end.
func (r *run) describe(st *Stats) {
	r.mu.Lock()
	defer r.mu.Unlock()
	st.Phase, st.Deadline = r.now, r.until
	st.Intent, st.Trigger, st.Started = r.cause.intent, r.cause.trigger, r.report.Started
	st.Phases = slices.Clone(r.report.Phases)
	st.Outcome, st.Retained = r.report.Outcome, r.report.Retained
	if !r.moved.IsZero() {
		st.Idle = time.Since(r.moved)
	}
}
