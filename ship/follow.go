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

// A volume may be copied, and each copy continues under the spool's id. At each destination the copies write one chain
// together as long as they hold the same records: the copy that creates the next manifest has written it for all of them, and
// the others accept it as their own. A copy that holds other records leaves the chain there: see acceptManifest.

// follow reads the chain from the point that this spool knows, and accepts the manifests that it finds, whoever wrote them:
// this spool before a crash or before it lost the state of the chain, another owner, or an adopter.
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
			// The proposed manifest has not arrived. If another writer is quicker, the next turn reads its manifest.
			if err = l.publish(ctx, own); isTaken(err) {
				err = l.withdraw(ctx)
			}
		case own != nil && own.Hash == m.Hash: // the proposed manifest has arrived
			err = l.retry(ctx, "chain", func(context.Context) error { return l.ack(m.next(l.cursor())) })
		default:
			err = l.acceptManifest(ctx, m, c)
		}
		if err != nil {
			return err
		}
	}
}

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
	// If it has arrived, it is found at the destination like any other. If not, it never will: the process that sent it has
	// ended.
	l.log.Error("ship: the proposed manifest is damaged on this disk; looking for it at the destination, and no record is lost: check the disk", "err", damage)
	return nil, l.withdraw(ctx)
}

// readNext reads the manifest that would be next, nil if there is none that can be read. what names the operation, see retry.
func (l *lane) readNext(ctx context.Context, what string, c spool.Chain) (m *Manifest, err error) {
	err = l.retry(ctx, what, func(ctx context.Context) (err error) {
		m, err = ReadManifest(ctx, l.dest, l.s.class, c.Spool, c.Epoch, c.Next)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrVerify) || IsPermanent(err) {
			// Some destinations answer "forbidden" for what is not there. If another writer's manifest is there after all,
			// Put reports that the number is taken.
			m, err = nil, nil
		}
		return err
	})
	return m, err
}

// isTaken reports whether an error is a takenError: another owner has written the manifest that was to be written.
func isTaken(err error) bool {
	_, ok := errors.AsType[*takenError](err)
	return ok
}

// newClaim returns a unique claim. Without it, two adopters with the same instance name could write the same bytes, and each
// would take the stored manifest for its own.
func newClaim() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
