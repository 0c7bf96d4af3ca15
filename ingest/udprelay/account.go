package udprelay

import (
	"maps"
	"net/netip"
	"slices"
)

// Cause says why a datagram that came in did not go out.
type Cause string

const (
	// NoTarget: there was no target, or none of the datagram's family.
	NoTarget Cause = "no_target"
	// Unforwarded: the kernel took a datagram in for a target, and did not hand it to an interface: there is no route, or a
	// rule of another table dropped it. NFT engine.
	Unforwarded Cause = "unforwarded"
	// Queue: the queue of the receiving socket was full. User engine. Of an inherited socket (Options.Files) the kernel counts since
	// the socket was made, so each process counts the drops of the processes before it again: those of the time between two
	// processes would otherwise be in no account.
	Queue Cause = "queue"
	// TooLong: the datagram is too long to be sent on with its header. User engine.
	TooLong Cause = "too_long"
	// Unreachable: the kernel refused to send, to any of the targets that were tried. User engine.
	Unreachable Cause = "unreachable"
	// Blocked: the sending socket took nothing for a second. User engine.
	Blocked Cause = "blocked"
	// GivenUp: received and not sent when the end was forced. User engine.
	GivenUp Cause = "given_up"
)

// Account is what became of the datagrams. See the documentation of the package for the equation that holds.
type Account struct {
	In uint64 `json:"in"`
	// Out is what the kernel took for an interface, by target, those that are no longer used included. No engine learns what is
	// lost after that: a host that is gone answers no ARP, and the queue of an interface can be full. Ask each target for its
	// health, as examples/udprelay does.
	Out     map[netip.AddrPort]uint64 `json:"out"`
	Dropped map[Cause]uint64          `json:"dropped"`
	// Passing is what had been taken in and had neither gone out nor been dropped when the account was read.
	Passing uint64 `json:"passing"`
	// Unfinished counts datagrams of which fragments were missing: the kernel never had them as a whole, so that they are not
	// part of In. NFT engine: of the whole network namespace, since the engine was made.
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

// Balanced reports whether the equation holds.
func (a *Account) Balanced() bool { return a.In == a.Sent()+a.Lost()+a.Passing }

// Targets lists the targets that Out has, sorted.
func (a *Account) Targets() []netip.AddrPort {
	return slices.SortedFunc(maps.Keys(a.Out), netip.AddrPort.Compare)
}
