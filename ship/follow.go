package ship

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A volume may be copied, and each copy goes on under the name of the spool. At each destination they write one chain
// together, as long as they have the same to say: whoever creates the manifest with the next number has said it for all of
// them, and the others take it for theirs. One that has something else to say at that place leaves the chain there, see acceptManifest.

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
		m, err := l.readNext(ctx, c)
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
	return l.retry(ctx, "chain", func(context.Context) error { return l.s.sp.Shelf().Withdraw(l.name) })
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

// readNext reads the manifest that would be next, nil if there is none that can be read.
func (l *lane) readNext(ctx context.Context, c spool.Chain) (m *Manifest, err error) {
	err = l.retry(ctx, "chain", func(ctx context.Context) (err error) {
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

// acceptManifest makes a manifest that is at the destination a link of this spool's chain, if this spool holds everything that the
// manifest states. Otherwise this spool leaves the chain: see Spool.Leave.
func (l *lane) acceptManifest(ctx context.Context, m *Manifest, c spool.Chain) error {
	if m.Footer.Segment > c.Segment && l.s.sp.Source() == "" {
		// The records it names may be in the active segment here; it is sealed first, so that it can be compared.
		if err := l.retry(ctx, "chain", l.s.sp.Seal); err != nil {
			return err
		}
	}
	var far shared
	err := l.retry(ctx, "chain", func(ctx context.Context) (err error) {
		far, err = l.compareManifest(ctx, m, c)
		return err
	})
	if err != nil {
		return err
	}
	switch {
	case m.Header.Destination != l.name:
		far.why = fmt.Sprintf("it is written for destination %s", m.Header.Destination)
	case c.Hash != [32]byte{} && m.Header.Prev != hex.EncodeToString(c.Hash[:]):
		far.why = "it follows another manifest than the one that is known here"
	}
	if far.why != "" {
		l.log.Warn("ship: another owner continues this chain with other data than this spool has; leaving the chain, and delivering what it lacks under another spool id: find out who runs with a copy of this volume", "epoch", c.Epoch, "manifest", c.Next,
			"instance", m.Header.Instance, "in_common_up_to", far.Through, "why", far.why)
		return l.changeChain(ctx, func() error { return l.s.sp.Shelf().Leave(l.name, far.Left) })
	}
	b, err := m.Encode()
	if err != nil {
		return err
	}
	l.log.Info("ship: accepting a manifest that is already at the destination; it says what this spool would have said, and nothing needs to be done", "epoch", c.Epoch, "manifest", c.Next, "instance", m.Header.Instance)
	return l.retry(ctx, "chain", func(context.Context) error {
		if err := l.s.sp.Shelf().Withdraw(l.name); err != nil {
			return err
		}
		if err := l.s.sp.Shelf().Propose(l.name, b, m.Footer.Final); err != nil {
			return err
		}
		after := m.next(c)
		after.Taken = heard(m.Header.Time)
		return l.ack(after)
	})
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

// heard returns when another owner was heard of, by the time of its manifest. That was written before it was read, so that
// a later time is that of a wrong clock: an owner whose clock is a year ahead would otherwise not be taken for silent for a
// year.
func heard(written time.Time) int64 { return min(segment.Nanos(written), segment.Nanos(time.Now())) }
