package ship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// prepareChain brings the chain into a state in which the next manifest can be written. It runs before anything else is sent,
// so that a destination never holds data of a spool without a chain, and the owner of a copied volume detects the copy before
// it sends any data.
//
// Each step leaves a state from which the next process can continue if this one dies: a manifest is proposed (made durable in
// the spool), sent, and acknowledged before the next one is made.
func (l *lane) prepareChain(ctx context.Context) error {
	if err := l.checkAnchor(ctx); err != nil {
		return err
	}
	for {
		// First read the manifests that are already at the destination, whoever wrote them.
		if err := l.follow(ctx); err != nil {
			return err
		}
		var err error
		switch c := l.cursor(); {
		case c.Left:
			if more, rerr := l.goOnRenamed(ctx); rerr != nil || !more {
				return rerr
			}
		case l.goesOn():
			err = l.changeChain(ctx, func() error { return l.s.sp.Shelf().Enter(l.name) })
		case c.Final:
			return nil // nothing can follow until the spool is opened again or has pending segments
		case c.Epoch < l.s.epoch && c.Spool == l.s.spool:
			err = l.handOver(ctx)
		case c.Next == 0:
			err = l.beginChain(ctx)
		default:
			return nil
		}
		if err != nil && !isTaken(err) {
			return err
		}
	}
}

// beginChain writes the first manifest of a chain or of an epoch. It states the time before which no pending segment begins.
// So a reader knows that a host which has just started, or which dies before it delivers anything, owes nothing of earlier
// hours.
func (l *lane) beginChain(ctx context.Context) error {
	since, err := l.s.sp.Shelf().Since(l.name)
	switch {
	case errors.Is(err, spool.ErrClosed):
		return err
	case err != nil: // the disk may be full: the chain can begin without this time
		l.log.Warn("ship: cannot save the start time of the pending records; the chain begins without it, so hours count as incomplete until the first delivery", "err", err)
		since = time.Time{}
	}
	return l.writeManifest(ctx, nil, func(m *Manifest) { m.Footer.Passed = since })
}

// hasPending reports whether there are sealed segments that the chain does not cover.
func (l *lane) hasPending(c spool.Chain) bool { return len(l.s.sp.Shelf().Sealed(c.Segment, 1)) > 0 }

// handOver ends the chain's present epoch, so that the chain continues in the spool's epoch, which is part of its objects'
// keys. Any other writer of this chain follows it there.
func (l *lane) handOver(ctx context.Context) error {
	claim := newClaim()
	return l.writeManifest(ctx, nil, func(m *Manifest) {
		m.Footer.ClosedBy = &Owner{Instance: l.s.instance, Epoch: max(l.s.epoch, m.Header.Epoch+1), Claim: claim}
	})
}

// checkAnchor waits until the chain's last manifest is at the destination. If it is missing, this is not the same destination
// as before: its volume may not be mounted, or another bucket may have its name. Records stored there would count as
// delivered, and the spool would delete them.
func (l *lane) checkAnchor(ctx context.Context) error {
	c := l.cursor()
	last, ok := c.Last()
	if !ok {
		return nil
	}
	return l.retry(ctx, "chain", func(ctx context.Context) error {
		m, err := ReadManifest(ctx, l.dest, l.s.class, c.Spool, last.Epoch, last.Number)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Permanent(fmt.Errorf("%s was delivered and is not there now: check that this is the same destination as before, "+
				"for example that its volume is mounted; if it was emptied on purpose, give it another name: it then gets everything that is kept from now on",
				object.ManifestKey(l.s.class, c.Spool, last.Epoch, last.Number)))
		case errors.Is(err, ErrVerify) || err == nil && m.Hash != c.Hash:
			// The destination is the right one, and an audit reports the damage. It must not stop deliveries.
			if err := l.proveGenuine(ctx); err != nil {
				return err
			}
			l.log.Error("ship: the destination's copy of the last delivered manifest has changed; continuing after it, and every audit reports it: find out who writes there", "epoch", last.Epoch, "manifest", last.Number, "err", err)
			return nil
		}
		return err // also if reading is not permitted: then nothing could be verified either
	})
}
