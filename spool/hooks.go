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

// Hook is notified of events. It has one or more of the methods of [HookKept], [HookSealed] and [HookStaged]; the same value may
// also be a Hook of packages ingest, ship and drain. A value that has none of the methods is refused.
//
// A spool calls its Hooks one after another, in the order of the events, on a goroutine that does nothing else, and
// without a lock. So a Hook may be slow, and may call the spool; the spool does not wait for it. A Hook that falls behind by
// some thousand calls misses the next ones (Stats.Untold). A panic of a Hook is counted (Stats.Panics) and logged, and the Hook
// is called again the next time. Close waits up to a second for calls that have not returned. A spool without Hooks spends no
// time on them.
type Hook any

// HookKept is a Hook that is called when records are kept.
type HookKept interface{ OnKept(k Kept) }

// HookSealed is a Hook that is called when a segment is sealed.
type HookSealed interface{ OnSealed(s Sealed) }

// HookStaged is a Hook that is called when a segment is staged, or staged again.
type HookStaged interface{ OnStaged(s Staged) }

// Kept is a run of records, of one or more batches, that have become kept since the last call.
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

// told is how long Close waits for Hooks at most.
const told = time.Second

// hooks are the Hooks of a spool. A nil *hooks calls none.
type hooks struct {
	class  string
	kept   []HookKept
	sealed []HookSealed
	staged []HookStaged
	panics atomic.Uint64
	log    *slog.Logger
	teller foreign.Teller

	mu      sync.Mutex
	from    *place // OnKept has not been called for the records from here to upTo; nil: for none
	upTo    place
	telling bool // the call of OnKept for them is queued
}

// newHooks returns the Hooks of o, nil if it has none.
func newHooks(o *Options) *hooks {
	if len(o.Hooks) == 0 {
		return nil
	}
	h := &hooks{
		class: o.Class, log: o.Logger, kept: foreign.Having[HookKept](o.Hooks), sealed: foreign.Having[HookSealed](o.Hooks), staged: foreign.Having[HookStaged](o.Hooks),
	}
	return h
}

// tell queues a call of a Hook; false if it is dropped because too many calls are queued.
func (h *hooks) tell(call func()) bool { return h.teller.Tell(call, h.panicked) }

func (h *hooks) panicked(p *foreign.PanicError) {
	h.panics.Add(1)
	h.log.Error("spool: a Hook panicked; nothing else is affected", "class", h.class, "err", p, "stack", string(p.Stack))
}

// checkHooks refuses values that are not Hooks of this package.
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

// noteKept calls OnKept for the records between two places. Commits that follow each other faster than the Hooks are called
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

// noteSealed calls OnSealed for a segment.
func (h *hooks) noteSealed(seg Segment) {
	if h == nil || len(h.sealed) == 0 {
		return
	}
	seg.Gaps, seg.Unaccounted = slices.Clone(seg.Gaps), slices.Clone(seg.Unaccounted)
	for _, x := range h.sealed {
		h.tell(func() { x.OnSealed(Sealed{h.class, seg}) })
	}
}

// noteStaged calls OnStaged for a segment.
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

// end waits for the calls that have not returned.
func (h *hooks) end() {
	if h != nil {
		h.teller.Wait(told)
	}
}
