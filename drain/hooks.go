package drain

import (
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
)

// Hook is notified of events. It implements [HookPhase]; the same value may also be a Hook of packages ingest, spool and ship.
// A value that does not implement HookPhase is refused.
//
// A Drainer calls its Hooks one after the other, in the order of the phases, on a separate goroutine and without a lock: the
// end of the process does not wait for them, except for a fifth of a second when everything else is done. A panic of a Hook is
// counted (Stats.Panics) and logged. For steps that the end must wait for, see Options.Before and Options.After.
type Hook any

// HookPhase is a Hook that is notified when a phase of the end begins.
type HookPhase interface{ OnPhase(p PhaseBegun) }

// PhaseBegun is a phase that has begun.
type PhaseBegun struct {
	Phase   string // as in the package documentation
	Intent  Intent
	Trigger string
	Time    time.Time
}

// told is how long the end waits for Hooks at most.
const told = 200 * time.Millisecond

// hooks are the Hooks of a Drainer. A nil *hooks calls none.
type hooks struct {
	phase    []HookPhase
	panicked func(*foreign.PanicError)
	teller   foreign.Teller
}

// newHooks returns nil if there are no Hooks.
func newHooks(d *Drainer) *hooks {
	if len(d.o.Hooks) == 0 {
		return nil
	}
	return &hooks{phase: foreign.Having[HookPhase](d.o.Hooks), panicked: func(p *foreign.PanicError) { _ = d.notePanic(p) }}
}

// checkHooks refuses values that are not Hooks of this package.
func checkHooks(all []Hook) error {
	return foreign.CheckHooks(all, func(x any) bool { _, ok := x.(HookPhase); return ok }, "OnPhase")
}

// notePhase queues the calls of the Hooks for a phase that begins.
func (h *hooks) notePhase(name string, c *cause) {
	if h == nil {
		return
	}
	p := PhaseBegun{Phase: name, Intent: c.intent, Trigger: c.trigger, Time: time.Now()}
	for _, x := range h.phase {
		h.teller.Tell(func() { x.OnPhase(p) }, h.panicked)
	}
}

// end waits for the outstanding calls, for at most told.
func (h *hooks) end() {
	if h != nil {
		h.teller.Wait(told)
	}
}
