package ingest

import (
	"fmt"
	"net"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/spool/segment"
)

// Hook is notified of events. It implements one or more of the interfaces whose names begin with Hook, here and in
// packages spool, ship and drain; the same value may be a Hook of several packages. A Hook must be safe for use by several
// goroutines. A value that implements none of this package's interfaces is refused. Without Hooks there is no cost.
type Hook any

// HookReceived is a Hook that is notified of what a listener receives.
type HookReceived interface {
	// OnReceived is called before the records are offered to the Sink, on the goroutine that reads the socket or the
	// connection, and without a lock. Nothing more is read there until it returns, so it must be quick. If it panics, the
	// listener counts (Stats.Panics) and logs that, and passes the records on.
	OnReceived(r Received)
}

// Received is what a listener has received at once.
type Received struct {
	// Listener is the address that the listener is bound to.
	Listener net.Addr
	// Records are those that the Sink is offered next. They and their bytes must not be changed, and are valid until
	// OnReceived returns.
	Records []segment.Record
	// Account counts everything that was received: the Records, and records that are lost already, for example because the
	// kernel dropped them. The sum over all calls is Stats.Received.
	Account segment.Account
}

// hooks are the Hooks of a listener. A nil *hooks calls none.
type hooks struct {
	addr     net.Addr
	received []HookReceived
	meter    *meter // counts panics
	log      *limiter
}

// newHooks returns nil if there are no Hooks.
func newHooks(all []Hook, addr net.Addr, m *meter, log *limiter) *hooks {
	if len(all) == 0 {
		return nil
	}
	return &hooks{addr, foreign.Having[HookReceived](all), m, log}
}

// checkHooks refuses values that are not Hooks of this package.
func checkHooks(all []Hook) error {
	err := foreign.CheckHooks(all, func(x any) bool { _, ok := x.(HookReceived); return ok }, "OnReceived")
	if err != nil {
		return fmt.Errorf("ingest: Hooks: %w", err)
	}
	return nil
}

// tell calls the Hooks with what was received.
func (h *hooks) tell(recs []segment.Record, a *segment.Account) {
	if h == nil || a.Received == (segment.Tally{}) {
		return
	}
	for _, x := range h.received {
		h.call(x, Received{h.addr, recs, *a})
	}
}

func (h *hooks) call(x HookReceived, r Received) {
	defer func() {
		if p := recover(); p != nil {
			h.meter.panicked()
			h.log.panicked("ingest: a Hook panicked; the records go on", p, "addr", h.addr.String())
		}
	}()
	x.OnReceived(r)
}
