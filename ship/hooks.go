package ship

import (
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/spool"
)

// Hook is told what happens. It has one or more of the methods of [HookPut], [HookAcked], [HookVerified] and [HookRetried]; the
// same value may be a Hook of packages ingest, spool and drain, too. A value that has none of the methods is refused.
//
// A Shipper calls its Hooks one after the other, whichever of its destinations they are told of, in the order in which things
// happen, on a goroutine that does nothing else, and without a lock. So a Hook may take its time; deliveries do not wait for it.
// Other Shippers and packages that have the same Hook call it from other goroutines. If some thousand calls wait, the next ones
// are dropped (DestinationStats.Untold). A Hook that panics is counted (DestinationStats.Panics) and logged, and is called again the
// next time. Run waits a second for calls that are not over. Without a Hook nothing costs any time.
type Hook any

// HookPut is a Hook that is told of each call of Destination.Put, of objects, manifests, heads and reports.
type HookPut interface{ OnPut(p Put) }

// HookAcked is a Hook that is told when a chain covers more: everything up to Acked.Chain.Through is delivered to the destination.
type HookAcked interface{ OnAcked(a Acked) }

// HookVerified is a Hook that is told when Verify has had an object or a manifest confirmed again.
type HookVerified interface{ OnVerified(v Verified) }

// HookRetried is a Hook that is told when an operation has failed and will be tried again.
type HookRetried interface{ OnRetried(r Retried) }

// Put is a call of Destination.Put that has returned.
type Put struct {
	Class, Destination string
	Object             Object
	Receipt            Receipt // if Err is nil
	Took               time.Duration
	Err                error
}

// Acked is a manifest that is at the destination, and what the chain covers with it.
type Acked struct {
	Class, Destination string
	Chain              spool.Chain
}

// Verified is a key at a destination that has what was sent.
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

// hooks are the Hooks of a Shipper, told for one lane. A nil *hooks tells nobody.
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

// newHooks returns the Hooks of a lane; nil if there are none.
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

// tell has a Hook called soon.
func (h *hooks) tell(call func()) {
	if !h.teller.Tell(call, h.panicked) {
		h.dropped.Add(1)
	}
}

// checkHooks refuses what is no Hook of this package.
func checkHooks(all []Hook) error {
	return foreign.CheckHooks(all, func(x any) bool {
		switch x.(type) {
		case HookPut, HookAcked, HookVerified, HookRetried:
			return true
		}
		return false
	}, "OnPut, OnAcked, OnVerified or OnRetried")
}

// notePut tells of a Put.
func (h *hooks) notePut(o Object, r Receipt, took time.Duration, err error) {
	if h == nil {
		return
	}
	for _, x := range h.put {
		h.tell(func() { x.OnPut(Put{h.class, h.dest, o, r, took, err}) })
	}
}

// noteAcked tells where the chain is.
func (h *hooks) noteAcked(c spool.Chain) {
	if h == nil {
		return
	}
	for _, x := range h.acked {
		h.tell(func() { x.OnAcked(Acked{h.class, h.dest, c}) })
	}
}

// noteVerified tells of a confirmation.
func (h *hooks) noteVerified(key string) {
	if h == nil {
		return
	}
	for _, x := range h.verified {
		h.tell(func() { x.OnVerified(Verified{h.class, h.dest, key}) })
	}
}

// noteRetried tells of a failure.
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
