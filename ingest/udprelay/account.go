package udprelay

import (
	"maps"
	"net/netip"
	"slices"
)

// Cause is the reason why a received datagram was not sent.
type Cause string

const (
	// NoTarget: there was no target, or none of the datagram's address family.
	NoTarget Cause = "no_target"
	// Unforwarded: the kernel accepted a datagram for a target, but did not pass it to an interface: there is no route, or
	// a rule of another table dropped it. NFT engine.
	Unforwarded Cause = "unforwarded"
	// Queue: the queue of the receiving socket was full. User engine. The kernel counts since the socket was made, so the account
	// of a process with an inherited socket (Options.Files) repeats the drops of the processes before it: otherwise no account
	// would have the drops between two processes.
	Queue Cause = "queue"
	// TooLong: the datagram is too long to be sent on with its header. User engine.
	TooLong Cause = "too_long"
	// Unreachable: the kernel refused to send to each target that was tried. User engine.
	Unreachable Cause = "unreachable"
	// Blocked: the sending socket took nothing for a second. User engine.
	Blocked Cause = "blocked"
	// GivenUp: the datagram was received but not sent when the end was forced. User engine.
	GivenUp Cause = "given_up"
)

// Account counts what happened to the datagrams. The documentation of the package has the equation that it satisfies.
type Account struct {
	In uint64 `json:"in"`
	// Out counts the datagrams that the kernel accepted for sending, by target, including targets that are no longer used. No
	// engine learns what is lost after that: a dead host answers no ARP, and the queue of an interface can be full. Check the
	// health of each target, as examples/udprelay does.
	Out     map[netip.AddrPort]uint64 `json:"out"`
	Dropped map[Cause]uint64          `json:"dropped"`
	// Passing counts datagrams that had come in, and had been neither sent nor dropped when the account was read.
	Passing uint64 `json:"passing"`
	// Unfinished counts datagrams with missing fragments: the kernel never had them as a whole, so they are not part of In.
	// NFT engine only; it covers the whole network namespace, since the engine was made.
	Unfinished uint64 `json:"unfinished"`
}

func newOut() map[netip.AddrPort]uint64 { return map[netip.AddrPort]uint64{} }

// Sent is the sum of Out.
func (a *Account) Sent() (n uint64) {
	for _, out := range a.Out {
		n += out
	}
	return n
}

// Lost is the sum of Dropped.
func (a *Account) Lost() (n uint64) {
	for _, d := range a.Dropped {
		n += d
	}
	return n
}

// Balanced reports whether the equation of the package documentation holds.
func (a *Account) Balanced() bool { return a.In == a.Sent()+a.Lost()+a.Passing }

// Targets returns the targets in Out, sorted.
func (a *Account) Targets() []netip.AddrPort {
	return slices.SortedFunc(maps.Keys(a.Out), netip.AddrPort.Compare)
}
