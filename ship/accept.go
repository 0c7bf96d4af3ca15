package ship

import (
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// acceptManifest accepts a manifest that is already at the destination as the next one of this spool's chain, if both this
// spool and the destination hold everything that the manifest states. Otherwise this spool leaves the chain: see Shelf.Leave.
// Anyone with write access to the destination may have written the manifest.
func (l *lane) acceptManifest(ctx context.Context, m *Manifest, c spool.Chain) error {
	began := time.Now()
	if (m.Footer.Segment > c.Segment || !m.Footer.Passed.IsZero()) && l.s.sp.Source() == "" {
		// The records that the manifest names may be in the active segment here, which must be sealed before it can be
		// compared.
		if err := l.retry(ctx, "chain", func(ctx context.Context) error { return ofHost(l.s.sp.Seal(ctx)) }); err != nil {
			return err
		}
	}
	unsigned, err := l.lacksSignature(ctx, m, c)
	if err != nil {
		return err
	}
	far := shared{Left: spool.Left{Segment: c.Segment, Through: c.Through, Stated: c.Stated}}
	switch {
	case m.Header.PrevLast > c.Through:
		far.why = fmt.Sprintf("it continues after record %d, and this chain contains the records up to %d", m.Header.PrevLast, c.Through)
	case unsigned:
		far.why = "it is not signed with this host's key"
	default:
		err = l.retry(ctx, "chain", func(ctx context.Context) (err error) {
			far, err = l.compareManifest(ctx, m, c)
			return err
		})
		if err != nil {
			return err
		}
		if why := l.contradiction(m, c, &far, began); why != "" {
			far.why = why
		}
	}
	if far.why != "" {
		l.log.Warn("ship: another owner has continued this chain differently, see why; this spool delivers the records that the chain lacks under a new spool id: find the process that runs on a copy of this volume", "epoch", c.Epoch, "manifest", c.Next,
			"instance", m.Header.Instance, "in_common_up_to", far.Through, "why", far.why)
		return l.changeChain(ctx, func() error { return l.s.sp.Shelf().Leave(l.name, far.Left) })
	}
	b, err := m.Encode()
	if err != nil {
		return err
	}
	l.log.Info("ship: accepting a manifest that is already at the destination and agrees with this spool; nothing needs to be done", "epoch", c.Epoch, "manifest", c.Next, "instance", m.Header.Instance)
	return l.retry(ctx, "chain", func(context.Context) error {
		if err := l.s.sp.Shelf().Withdraw(l.name); err != nil {
			return ofHost(err)
		}
		if err := l.s.sp.Shelf().Propose(l.name, b, m.Footer.Final); err != nil {
			return ofHost(err)
		}
		after := m.next(c)
		after.Taken = heard(m.Header.Time)
		if err := l.ack(after); err != nil {
			return err
		}
		if !m.Footer.Passed.IsZero() {
			// Idle records that no segment begins before Passed, even if the clock is set back by up to a day. If the disk has
			// no room, that can wait.
			_, _, _ = l.s.sp.Shelf().Idle(l.name)
		}
		return nil
	})
}

// epochsAhead bounds how far another owner's epoch may be ahead of this spool's. A spool begins at most one epoch per start.
const epochsAhead = 1000

// contradiction returns why this spool cannot continue the chain after a manifest even if its lines agree, "" if it can.
func (l *lane) contradiction(m *Manifest, c spool.Chain, far *shared, began time.Time) string {
	by, passed := m.Footer.ClosedBy, m.Footer.Passed
	switch {
	case m.Header.Destination != l.name:
		return fmt.Sprintf("it is written for destination %s: if this is the former name of this one, the records that are still here are named there again, and an operator should close the former chain",
			m.Header.Destination)
	case c.Hash != [32]byte{} && m.Header.Prev != hex.EncodeToString(c.Hash[:]):
		return "its prev is not the hash of the last manifest that is known here"
	case by != nil && by.Epoch > min(max(c.Epoch, l.s.epoch), object.MaxEpoch-2*epochsAhead)+epochsAhead,
		m.Footer.Final && c.Epoch > object.MaxEpoch-epochsAhead:
		// No epoch follows MaxEpoch, so records kept after it could never be delivered in this chain.
		return "its epoch or that of its closed_by is too far ahead, or too close to the maximum"
	case passed.IsZero():
	case passed.After(began) && l.s.sp.Source() == "":
		return fmt.Sprintf("it says that no segment begins before %s, which is yet to come", passed)
	default:
		for _, seg := range l.s.sp.Shelf().Sealed(far.Segment, 0) {
			if seg.Records > 0 && seg.Created.Before(passed) {
				return fmt.Sprintf("it says that no segment begins before %s, and segment %d has begun at %s here", passed, seg.Number, seg.Created.UTC())
			}
		}
	}
	if far.why == "" && far.Through != max(c.Through, m.Footer.Last) {
		return fmt.Sprintf("it ends with record %d, and its lines with %d", m.Footer.Last, far.Through)
	}
	return ""
}

// isSigned reports whether a manifest is signed with the key of this spool's Signer; without a Signer, every manifest passes.
func (l *lane) isSigned(m *Manifest) bool {
	signer := l.s.o.Signer
	if signer == nil {
		return true
	}
	var key ed25519.PublicKey
	err := foreign.Catch("Signer.Public", func() error { key, _ = signer.Public().(ed25519.PublicKey); return nil })
	if err == nil {
		_, err = m.CheckSignature(key)
	}
	return err == nil
}

// lacksSignature reports whether a manifest is not signed with this spool's key although the last manifest of the chain is. If
// neither is, signing has not begun in this chain, or has begun with another key. The chain's state in the spool does not show
// this: the spool may have written the last manifest before it was given its key. But if the last manifest was overwritten, or
// cannot be read, a manifest of this spool's own counts as signed: otherwise a stranger could switch the rule off.
func (l *lane) lacksSignature(ctx context.Context, m *Manifest, c spool.Chain) (bool, error) {
	last, ok := c.Last()
	if !ok || l.isSigned(m) {
		return false, nil
	}
	c.Epoch, c.Next = last.Epoch, last.Number
	before, err := l.readNext(ctx, "chain", c)
	if err == nil && (before == nil || before.Hash != c.Hash) {
		return c.Taken == 0, nil
	}
	return before != nil && l.isSigned(before), err
}

// heard returns when another owner last wrote: the time of its manifest, but at most the present. A later time comes from a
// wrong clock, and an owner whose clock is a year ahead would otherwise not count as silent for a year.
func heard(written time.Time) int64 { return min(segment.Nanos(written), segment.Nanos(time.Now())) }
