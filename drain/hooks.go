package drain

import (
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
)

// Hook is told what happens. It has the method of [HookPhase]; the same value may be a Hook of packages ingest, spool and ship,
// too. A value without the method is refused.
//
// A Drainer calls its Hooks one after the other, in the order of the phases, on a goroutine that does nothing else, and without
// a lock: the end of the process does not wait for them, except for a fifth of a second when all is done. One that panics is
// counted (Stats.Panics) and logged. For steps that the end must wait for, see Options.Before and Options.After.
type Hook any

// HookPhase is a Hook that is told when a phase of the end begins.
type HookPhase interface{ OnPhase(p PhaseBegun) }

// PhaseBegun is a phase that has begun.
type PhaseBegun struct {
	Phase   string // as in the package documentation
	Intent  Intent
	Trigger string
	Time    time.Time
}

// told is the longest time for which the end waits for Hooks.
const told = 200 * time.Millisecond

// hooks are the Hooks of a Drainer. A nil *hooks tells nobody.
type hooks struct {
	phase    []HookPhase
	panicked func(*foreign.PanicError)
	teller   foreign.Teller
}

// newHooks returns nil if there are none.
func newHooks(d *Drainer) *hooks {
	if len(d.o.Hooks) == 0 {
		return nil
	}
	return &hooks{phase: foreign.Having[HookPhase](d.o.Hooks), panicked: func(p *foreign.PanicError) { _ = d.notePanic(p) }}
}

// checkHooks refuses what is no Hook of this package.
func checkHooks(all []Hook) error {
	return foreign.CheckHooks(all, func(x any) bool { _, ok := x.(HookPhase); return ok }, "OnPhase")
}

// notePhase tells that a phase begins.
func (h *hooks) notePhase(name string, c *cause) {
	if h == nil {
		return
	}
	p := PhaseBegun{Phase: name, Intent: c.intent, Trigger: c.trigger, Time: time.Now()}
	for _, x := range h.phase {
		h.teller.Tell(func() { x.OnPhase(p) }, h.panicked)
	}
}

// end waits for the calls that are not over.
func (h *hooks) end() {
	if h != nil {
		h.teller.Wait(told)
	}
}
