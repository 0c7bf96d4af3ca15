package ship

import (
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/spool"
)

// Hook is called when certain events happen. It has one or more of the methods of [HookPut], [HookAcked], [HookVerified] and
// [HookRetried]; the same value may also be a Hook of packages ingest, spool and drain. A value that has none of the methods
// is refused.
//
// A Shipper calls its Hooks one after the other, for all its destinations, in the order of the events, on a goroutine that
// does nothing else, and without holding a lock. So a Hook may be slow: deliveries do not wait for it. Other Shippers and
// packages that have the same Hook call it from other goroutines. If some thousand calls wait, further ones are dropped
// (DestinationStats.Untold). A panic of a Hook is counted (DestinationStats.Panics) and logged, and the Hook is called again
// for the next event. At its end, Run waits up to a second for pending calls. Without Hooks, this costs no time.
type Hook any

// HookPut is a Hook that is called after each Destination.Put: of objects, manifests, heads and reports.
type HookPut interface{ OnPut(p Put) }

// HookAcked is a Hook that is called when a chain has grown: everything up to Acked.Chain.Through is delivered to the
// destination.
type HookAcked interface{ OnAcked(a Acked) }

// HookVerified is a Hook that is called when a destination has confirmed an object or a manifest to Verify again.
type HookVerified interface{ OnVerified(v Verified) }

// HookRetried is a Hook that is called when an operation has failed and will be tried again.
type HookRetried interface{ OnRetried(r Retried) }

// Put is a call of Destination.Put that has returned.
type Put struct {
	Class, Destination string
	Object             Object
	Receipt            Receipt // if Err is nil
	Took               time.Duration
	Err                error
}

// Acked is the state of a chain after another manifest has arrived at the destination.
type Acked struct {
	Class, Destination string
	Chain              spool.Chain
}

// Verified is a key under which a destination still has what was sent.
type Verified struct {
	Class, Destination, Key string
}

// Retried is an operation that has failed.
type Retried struct {
	Class, Destination string
	Operation          string // "segment 7", "chain", "check", and others, as in the log
	Attempt            int    // from 1
	Err                error
	Kind               Failure
	Wait               time.Duration // until it is tried again
}

// told is the longest time for which Run waits for Hooks.
const told = time.Second

// hooks calls the Hooks of a Shipper for one lane. A nil *hooks calls none.
type hooks struct {
	class, dest string
	put         []HookPut
	acked       []HookAcked
	verified    []HookVerified
	retried     []HookRetried
	teller      *foreign.Teller // of the Shipper
	panicked    func(*foreign.PanicError)
	dropped     atomic.Uint64 // calls for this lane
}

// newHooks returns nil if there are no Hooks.
func newHooks(l *lane) *hooks {
	all := l.s.o.Hooks
	if len(all) == 0 {
		return nil
	}
	h := &hooks{
		class: l.s.class, dest: l.name, put: foreign.Having[HookPut](all), acked: foreign.Having[HookAcked](all),
		verified: foreign.Having[HookVerified](all), retried: foreign.Having[HookRetried](all), teller: &l.s.teller,
	}
	h.panicked = func(p *foreign.PanicError) {
		l.panics.Add(1)
		l.log.Error("ship: a Hook panicked; nothing else is affected", "err", p, "stack", string(p.Stack))
	}
	return h
}

// tell queues a call of a Hook, or drops it if too many are waiting.
func (h *hooks) tell(call func()) {
	if !h.teller.Tell(call, h.panicked) {
		h.dropped.Add(1)
	}
}

// checkHooks refuses values that are no Hooks of this package.
func checkHooks(all []Hook) error {
	return foreign.CheckHooks(all, func(x any) bool {
		switch x.(type) {
		case HookPut, HookAcked, HookVerified, HookRetried:
			return true
		}
		return false
	}, "OnPut, OnAcked, OnVerified or OnRetried")
}

func (h *hooks) notePut(o Object, r Receipt, took time.Duration, err error) {
	if h == nil {
		return
	}
	for _, x := range h.put {
		h.tell(func() { x.OnPut(Put{h.class, h.dest, o, r, took, err}) })
	}
}

func (h *hooks) noteAcked(c spool.Chain) {
	if h == nil {
		return
	}
	for _, x := range h.acked {
		h.tell(func() { x.OnAcked(Acked{h.class, h.dest, c}) })
	}
}

func (h *hooks) noteVerified(key string) {
	if h == nil {
		return
	}
	for _, x := range h.verified {
		h.tell(func() { x.OnVerified(Verified{h.class, h.dest, key}) })
	}
}

func (h *hooks) noteRetried(what string, attempt int, err error, wait time.Duration) {
	if h == nil {
		return
	}
	for _, x := range h.retried {
		h.tell(func() { x.OnRetried(Retried{h.class, h.dest, what, attempt, err, failureOf(err), wait}) })
	}
}

// untold returns how many calls for the lane were dropped.
func (h *hooks) untold() uint64 {
	if h == nil {
		return 0
	}
	return h.dropped.Load()
}
