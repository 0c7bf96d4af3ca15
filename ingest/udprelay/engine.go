package udprelay

import (
	"context"
	"net/netip"
)

// Engine forwards datagrams.
type Engine interface {
	// Use replaces the targets. The change loses no datagram. After an error the targets are those of before, unless the error
	// says otherwise, and Use may be called again. Without targets every datagram is dropped and counted (NoTarget).
	Use(ctx context.Context, targets []netip.AddrPort) error
	// Run forwards until ctx ends, and then ends in order. It may be called once.
	Run(ctx context.Context) error
	// Account returns what became of the datagrams so far.
	Account(ctx context.Context) (*Account, error)
}

var (
	_ Engine = (*NFT)(nil)
	_ Engine = (*User)(nil)
)
