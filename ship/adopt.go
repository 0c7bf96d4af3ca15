package ship

import (
	"context"
	"fmt"
	"time"
)

// Claim makes this Shipper the writer of the chains of an adopted spool, and does nothing for any other. It goes by the
// first destination, in the order of names: whoever has created the next manifest there, of all who may try to, adopts;
// the others have ErrFenced. So two adopters do not do the same work twice. It waits while that destination cannot be
// reached. Run begins with it.
//
// The manifests of another adopter are taken over, one by one. One that has written nothing for Options.OwnerTimeout is taken
// for dead. If it is not, the two deliver together: nothing is delivered twice, and nothing is lost.
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
		// There is nothing to deliver, and this one has written nothing: the next destination decides.
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.claimed = true
	return nil
}

// claimChain follows the chain at the destination to its end, and hands it over to this spool, unless that has been done before.
// claimed is false if the chain is complete without. An owner or an adopter that has shown itself within patience is given
// way to.
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
			return true, nil // begun, by this spool itself
		case c.Taken != 0 && silent < patience:
			return false, fmt.Errorf("%w: at %s, %s is delivering epoch %d; its last manifest is %v old, and it is considered dead after %v",
				ErrFenced, l.name, l.lastWriter(ctx), c.Epoch, silent.Round(time.Second), patience)
		case c.Final:
			err = l.changeChain(ctx, func() error { return l.s.sp.Shelf().Enter(l.name) })
		case c.Epoch < l.s.epoch && c.Spool == l.s.spool, c.Taken != 0 && c.Next > 0:
			err = l.handOver(ctx)
		default:
			err = l.writeManifest(ctx, nil, nil) // the birth of this one's
		}
		// If somebody was quicker: whether that was an adopter or a last word of the old owner's, the chain itself tells.
		if err != nil && !isTaken(err) {
			return false, err
		}
	}
}

// lastWriter names who has written the last manifest that there is, for people to read.
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
