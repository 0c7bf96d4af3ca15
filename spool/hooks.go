package spool

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/spool/segment"
)

// Hook is told what happens. It has one or more of the methods of [HookKept], [HookSealed] and [HookStaged]; the same value may
// be a Hook of packages ingest, ship and drain, too. A value that has none of the methods is refused.
//
// A spool calls its Hooks one after the other, in the order in which things happen, on a goroutine that does nothing else, and
// without a lock. So a Hook may take its time, and may call the spool; the spool does not wait for it. A Hook that is behind by
// some thousand calls misses the next ones (Stats.Untold). One that panics is counted (Stats.Panics) and logged, and is called
// again the next time. Close waits a second for calls that are not over. Without a Hook nothing costs any time.
type Hook any

// HookKept is a Hook that is told when records are kept.
type HookKept interface{ OnKept(k Kept) }

// HookSealed is a Hook that is told when a segment is sealed.
type HookSealed interface{ OnSealed(s Sealed) }

// HookStaged is a Hook that is told when a segment is staged, or staged again.
type HookStaged interface{ OnStaged(s Staged) }

// Kept is a run of records that have become kept since the last call, of one batch or many.
type Kept struct {
	Class       string
	First, Last uint64 // sequence numbers
	segment.Tally
}

// Sealed is a segment that has been sealed.
type Sealed struct {
	Class   string
	Segment Segment
}

// Staged is a segment that has been staged. The record must not be changed.
type Staged struct {
	Class  string
	Record *StageRecord
}

// told is the longest time for which Close waits for Hooks.
const told = time.Second

// hooks are the Hooks of a spool. A nil *hooks tells nobody.
type hooks struct {
	class  string
	kept   []HookKept
	sealed []HookSealed
	staged []HookStaged
	panics atomic.Uint64
	log    *slog.Logger
	teller foreign.Teller

	mu      sync.Mutex
	from    *place // what is kept beyond it has not been told; nil: nothing
	upTo    place
	telling bool // a call is waiting that tells it
}

// newHooks returns nil if there are none.
func newHooks(o *Options) *hooks {
	if len(o.Hooks) == 0 {
		return nil
	}
	h := &hooks{
		class: o.Class, log: o.Logger, kept: foreign.Having[HookKept](o.Hooks), sealed: foreign.Having[HookSealed](o.Hooks), staged: foreign.Having[HookStaged](o.Hooks),
	}
	return h
}

// tell has a Hook called soon; false if it is not, because too many calls wait.
func (h *hooks) tell(call func()) bool { return h.teller.Tell(call, h.panicked) }

func (h *hooks) panicked(p *foreign.PanicError) {
	h.panics.Add(1)
	h.log.Error("spool: a Hook panicked; nothing else is affected", "class", h.class, "err", p, "stack", string(p.Stack))
}

// checkHooks refuses what is no Hook of this package.
func checkHooks(all []Hook) error {
	known := func(x any) bool {
		switch x.(type) {
		case HookKept, HookSealed, HookStaged:
			return true
		}
		return false
	}
	if err := foreign.CheckHooks(all, known, "OnKept, OnSealed or OnStaged"); err != nil {
		return fmt.Errorf("options: Hooks: %w", err)
	}
	return nil
}

// noteKept tells that the records between two places are kept. Commits that follow each other faster than the Hooks are called
// become one call. journal.mu may be held.
func (h *hooks) noteKept(from, to place) {
	if h == nil || len(h.kept) == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.from == nil {
		h.from = &from
	}
	h.upTo = to
	if !h.telling {
		h.telling = h.tell(h.tellKept)
	}
}

func (h *hooks) tellKept() {
	h.mu.Lock()
	from, to := *h.from, h.upTo
	h.from, h.telling = nil, false
	h.mu.Unlock()
	k := Kept{Class: h.class, First: from.seq + 1, Last: to.seq, Tally: segment.Tally{Records: to.seq - from.seq, Bytes: to.bytes - from.bytes}}
	for _, x := range h.kept {
		x.OnKept(k)
	}
}

// noteSealed tells that a segment is sealed.
func (h *hooks) noteSealed(seg Segment) {
	if h == nil || len(h.sealed) == 0 {
		return
	}
	seg.Gaps, seg.Unaccounted = slices.Clone(seg.Gaps), slices.Clone(seg.Unaccounted)
	for _, x := range h.sealed {
		h.tell(func() { x.OnSealed(Sealed{h.class, seg}) })
	}
}

// noteStaged tells that a segment is staged.
func (h *hooks) noteStaged(rec *StageRecord) {
	if h == nil {
		return
	}
	for _, x := range h.staged {
		h.tell(func() { x.OnStaged(Staged{h.class, rec}) })
	}
}

// counts returns how often a Hook has panicked, and how many calls were dropped.
func (h *hooks) counts() (panics, untold uint64) {
	if h == nil {
		return 0, 0
	}
	return h.panics.Load(), h.teller.Dropped()
}

// end waits for the calls that are not over.
func (h *hooks) end() {
	if h != nil {
		h.teller.Wait(told)
	}
}
