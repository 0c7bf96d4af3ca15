package udprelay

import (
	"context"
	"net/netip"
)

// Engine forwards datagrams.
type Engine interface {
	// Use replaces the targets, without losing a datagram. After an error the former targets stay in use, unless the error
	// says otherwise, and Use may be called again. Without targets every datagram is dropped and counted (NoTarget).
	Use(ctx context.Context, targets []netip.AddrPort) error
	// Run forwards until ctx ends, and then ends gracefully. It may be called once.
	Run(ctx context.Context) error
	// Account returns the account so far.
	Account(ctx context.Context) (*Account, error)
}

var (
	_ Engine = (*NFT)(nil)
	_ Engine = (*User)(nil)
)
