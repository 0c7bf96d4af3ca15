package ship

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/penstock-go/penstock/spool"
)

// A volume may be copied, and each copy goes on under the name of the spool. At each destination they write one chain
// together, as long as they have the same to say: whoever creates the manifest with the next number has said it for all of
// them, and the others take it for theirs. One that has something else to say at that place leaves the chain there: see
// acceptManifest.

// follow reads the chain on from where this spool knows it, and makes what stands there its own, wherever it comes from:
// what this one has sent before a crash, what another owner or an adopter has delivered, or what this spool had delivered
// when the state of the chain was lost.
func (l *lane) follow(ctx context.Context) error {
	for {
		c := l.cursor()
		if c.Final {
			return nil
		}
		own, err := l.proposedManifest(ctx)
		if err != nil {
			return err
		}
		m, err := l.readNext(ctx, "chain", c)
		switch {
		case err != nil || m == nil && own == nil:
			return err
		case m == nil:
			// It was about to be sent. Should somebody be quicker now, the next turn reads that.
			if err = l.publish(ctx, own); isTaken(err) {
				err = l.withdraw(ctx)
			}
		case own != nil && own.Hash == m.Hash: // it was sent
			err = l.retry(ctx, "chain", func(context.Context) error { return l.ack(m.next(l.cursor())) })
		default:
			err = l.acceptManifest(ctx, m, c)
		}
		if err != nil {
			return err
		}
	}
}

// withdraw takes back a manifest that was proposed and is at no destination.
func (l *lane) withdraw(ctx context.Context) error {
	return l.retry(ctx, "chain", func(context.Context) error { return ofHost(l.s.sp.Shelf().Withdraw(l.name)) })
}

// proposedManifest returns the manifest that is proposed and not acknowledged, nil if there is none.
func (l *lane) proposedManifest(ctx context.Context) (m *Manifest, err error) {
	var damage error
	err = l.retry(ctx, "chain", func(context.Context) error {
		b, err := l.s.sp.Shelf().Proposed(l.name)
		if err == nil {
			m, damage = DecodeManifest(bytes.NewReader(b))
		}
		if m != nil && m.Header.Destination != l.name {
			damage = fmt.Errorf("it is written for destination %q", m.Header.Destination)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(err, spool.ErrCorrupt): // the disk does not return it
			damage = err
			return nil
		case errors.Is(damage, ErrVersion):
			return Permanent(fmt.Errorf("the proposed manifest: %w", damage))
		}
		return err
	})
	if err != nil || damage == nil {
		return m, err
	}
	// It may have arrived whole, and then it stands, and is found like any other. If it has not, it never will: who sent it
	// has ended.
	l.log.Error("ship: the proposed manifest is damaged on this disk; asking the destination for it, so nothing is lost: check the disk", "err", damage)
	return nil, l.withdraw(ctx)
}

// readNext reads the manifest that would be next, nil if there is none that can be read. what names the operation, see retry.
func (l *lane) readNext(ctx context.Context, what string, c spool.Chain) (m *Manifest, err error) {
	err = l.retry(ctx, what, func(ctx context.Context) (err error) {
		m, err = ReadManifest(ctx, l.dest, l.s.class, c.Spool, c.Epoch, c.Next)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrVerify) || IsPermanent(err) {
			// Some destinations answer "forbidden" for what is not there. If something is, and is not ours, our manifest will
			// not get its number: only a Put decides that.
			m, err = nil, nil
		}
		return err
	})
	return m, err
}

// isTaken reports whether an error is the proof that another owner has written the manifest that was to be written.
func isTaken(err error) bool {
	_, ok := errors.AsType[*takenError](err)
	return ok
}

// newClaim makes the bytes of a claim unlike those of any other, so that two adopters of one name cannot both take the one
// that stands for theirs.
func newClaim() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
