package drain

import (
	"slices"
	"strings"
	"sync"
	"testing"
)

// phaseHook notes the phases that it is called with.
type phaseHook struct {
	mu     sync.Mutex
	phases []string
}

func (h *phaseHook) OnPhase(p PhaseBegun) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phases = append(h.phases, p.Phase)
	if p.Phase == phaseSeal {
		panic("a hook")
	}
}

// TestHookPhase: a hook is called for the phases of a drain in order, and a hook that panics does no harm.
func TestHookPhase(t *testing.T) {
	w := newWorld(t)
	h := &phaseHook{}
	d, sp := w.start(Options{Hooks: []Hook{h}})
	w.append(sp, 10)
	r, err := d.Drain(t.Context(), "test")
	if err != nil || r.Outcome != Delivered {
		t.Fatalf("%v %s", err, r.JSON())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if want := []string{phaseAnnounce, phaseClose, phaseSeal, phaseShip, phaseVerify, phaseReport, phaseFinish}; !slices.Equal(h.phases, want) {
		t.Errorf("told %q, want %q", h.phases, want)
	}
	if d.Stats().Panics != 1 {
		t.Errorf("%d panics", d.Stats().Panics)
	}
	if _, err := New(&Options{Dir: t.TempDir(), Hooks: []Hook{w}}); err == nil || !strings.Contains(err.Error(), "OnPhase") {
		t.Error(err)
	}
}
