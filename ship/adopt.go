package ship

import (
	"context"
	"fmt"
	"time"
)

// Claim makes this Shipper the writer of the chains of an adopted spool; for any other spool it does nothing. The destination
// whose name sorts first decides: the adopter that creates the next manifest there adopts the spool, and all others get
// ErrFenced. So two adopters do not do the same work twice. Claim waits while that destination cannot be reached. Run calls
// it first.
//
// Claim accepts the manifests that another adopter has written, one by one. An adopter that has written nothing for
// Options.OwnerTimeout is considered dead. If it is alive, both deliver: nothing twice, and nothing is lost.
func (s *Shipper) Claim(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	claimed := s.claimed
	s.mu.Unlock()
	if claimed || s.sp.Source() == "" {
		return nil
	}
	for _, l := range s.all() {
		claimed, err := l.claimChain(ctx, s.o.OwnerTimeout)
		if err != nil {
			return err
		}
		if claimed {
			break
		}
		// This destination needs nothing, and this Shipper has written nothing there, so the next destination decides.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = true
	return nil
}

// claimChain follows the chain at the destination to its end and hands it over to this spool, unless that was done before.
// claimed is false if the chain is complete without this spool. If the owner or another adopter has written within patience,
// claimChain returns ErrFenced.
func (l *lane) claimChain(ctx context.Context, patience time.Duration) (claimed bool, err error) {
	for {
		if err := l.follow(ctx); err != nil {
			return false, err
		}
		c := l.cursor()
		silent := time.Since(time.Unix(0, c.Taken))
		switch {
		case c.Left:
			if more, err := l.goOnRenamed(ctx); err != nil || !more {
				return false, err
			}
		case c.Final && !l.hasPending(c):
			return c.Taken == 0, nil
		case c.Taken == 0 && c.Next > 0 && (c.Epoch >= l.s.epoch || c.Spool != l.s.spool):
			return true, nil // this spool itself has begun it
		case c.Taken != 0 && silent < patience:
			return false, fmt.Errorf("%w: at %s, %s is delivering epoch %d; its last manifest is %v old, and it is considered dead after %v",
				ErrFenced, l.name, l.lastWriter(ctx), c.Epoch, silent.Round(time.Second), patience)
		case c.Final:
			err = l.changeChain(ctx, func() error { return l.s.sp.Shelf().Enter(l.name) })
		case c.Epoch < l.s.epoch && c.Spool == l.s.spool, c.Taken != 0 && c.Next > 0:
			err = l.handOver(ctx)
		default:
			err = l.writeManifest(ctx, nil, nil) // the first manifest of this spool's epoch
		}
		// If another writer was quicker, the next turn reads its manifest and sees who that was.
		if err != nil && !isTaken(err) {
			return false, err
		}
	}
}

// lastWriter returns the instance that the chain's last manifest names as the chain's writer, for messages.
func (l *lane) lastWriter(ctx context.Context) string {
	c := l.cursor()
	if last, ok := c.Last(); ok {
		m, err := ReadManifest(ctx, l.dest, l.s.class, c.Spool, last.Epoch, last.Number)
		switch {
		case err != nil:
		case m.Footer.ClosedBy != nil:
			return m.Footer.ClosedBy.Instance
		default:
			return m.Header.Instance
		}
	}
	return "another owner"
}
