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

// prepareChain brings the chain to where the next manifest can be written. It runs before anything else is sent, so that a
// destination never holds data of a spool of which its chain says nothing, and so that a copy of a volume learns that it
// is one before it has sent a byte of data.
//
// Each step leaves a state from which the next process goes on, wherever this one ends: a manifest is proposed (durable
// here), sent, acknowledged, and only then is the next one made.
func (l *lane) prepareChain(ctx context.Context) error {
	if err := l.checkAnchor(ctx); err != nil {
		return err
	}
	for {
		// The manifest that is at the destination under the next number comes first, whoever wrote it.
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
			return nil // nothing can follow before the spool is opened again, or has more
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

// beginChain writes the first manifest of a chain, or of an epoch. It says since when there is anything that the chain will
// have: a host that has just begun, or that dies before it has delivered anything, may owe nothing of the hours before.
func (l *lane) beginChain(ctx context.Context) error {
	since, err := l.s.sp.Shelf().Since(l.name)
	switch {
	case errors.Is(err, spool.ErrClosed):
		return err
	case err != nil: // the disk may be full: it can be said without
		l.log.Warn("ship: cannot record in the spool since when it has records; the chain begins without that, so readers of whole hours wait until it has delivered something", "err", err)
		since = time.Time{}
	}
	return l.writeManifest(ctx, nil, func(m *Manifest) { m.Footer.Passed = since })
}

// hasPending reports whether there is something that the chain does not cover.
func (l *lane) hasPending(c spool.Chain) bool { return len(l.s.sp.Shelf().Sealed(c.Segment, 1)) > 0 }

// handOver closes the epoch that the chain is in, for the one that the spool is in: the names of objects say which. Whoever
// else writes this chain follows there.
func (l *lane) handOver(ctx context.Context) error {
	claim := newClaim()
	return l.writeManifest(ctx, nil, func(m *Manifest) {
		m.Footer.ClosedBy = &Owner{Instance: l.s.instance, Epoch: max(l.s.epoch, m.Header.Epoch+1), Claim: claim}
	})
}

// checkAnchor waits until the chain's last manifest is at the destination. Where it is not, the destination is not the place
// that it was: a volume that is not mounted at its directory, another bucket of the same name. What would be stored there
// counts as delivered here, and is deleted.
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
			// The place is the right one, and an audit says more about what is in it. Damage there must not hold up what is here.
			if err := l.proveGenuine(ctx); err != nil {
				return err
			}
			l.log.Error("ship: the destination's copy of the last delivered manifest has changed; continuing after it, and every audit reports it: find out who writes there", "epoch", last.Epoch, "manifest", last.Number, "err", err)
			return nil
		}
		return err // also where it may not be read: what cannot be read cannot be verified either
	})
}
