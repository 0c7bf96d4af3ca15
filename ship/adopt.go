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

// EpochError says that an adopter before this one has used the epoch that the spool was adopted in, and has fallen
// silent. Adopted again with spool.AdoptOptions.Epoch, the spool can be taken over from it. It is an ErrFenced: in this
// epoch nothing can be shipped.
type EpochError struct {
	Epoch    uint32 // to adopt in
	Instance string // that was there before
	Silent   time.Duration
}

// Error says in which epoch to adopt.
func (e *EpochError) Error() string {
	return fmt.Sprintf("ship: adopter %s has been silent for %v: adopt in epoch %d to go on in its place", e.Instance, e.Silent.Round(time.Second), e.Epoch)
}

// Unwrap returns ErrFenced.
func (e *EpochError) Unwrap() error { return ErrFenced }

// Claim makes this Shipper the writer of the chains of an adopted spool, and does nothing for any other. It goes by the
// first destination, in the order of names: whoever has created the next manifest there, of all who may try to, adopts;
// the others have ErrFenced. So two adopters cannot end up with one destination each. It waits while that destination
// cannot be reached. Run begins with it.
//
// What another adopter has written is taken over, link by link. One that has written nothing for Options.Patience is taken
// for dead: see EpochError. If it is not, it loses, but no record does.
func (s *Shipper) Claim(ctx context.Context) error {
	if s.sp.Source() == "" {
		return nil
	}
	for _, l := range s.lanes {
		if err := l.takeOver(ctx, s.o.Patience); err != nil || l.cursor().Taken == 0 {
			return err
		}
		// Another adopter has completed it, and this one has claimed nothing: the next destination decides.
	}
	return nil
}

// takeOver follows the chain at the destination to its end, claims what comes next, and begins its own epoch, unless it has
// before, or the chain is complete. An adopter that has shown itself within patience is given way to.
func (l *lane) takeOver(ctx context.Context, patience time.Duration) error {
	for end := (spool.Chain{}); ; {
		if err := l.follow(ctx); err != nil {
			return err
		}
		c := l.cursor()
		if c.Left {
			if ok, err := l.rename(ctx); err != nil || !ok {
				return err
			}
			continue
		}
		silent := time.Since(time.Unix(0, c.Taken))
		switch {
		case c.Taken == 0 && c.Epoch == l.s.epoch && c.Next > 0:
			return nil // begun, by this spool itself
		case c.Taken == 0 && c.Epoch > l.s.epoch && c.Next > 0:
			return nil // the same, after an owner that fell silent, perhaps by an earlier process
		case c.Final && c.ClosedBy == 0 && c.Epoch == l.s.epoch && l.s.covered(c):
			return nil // another has delivered everything
		// Behind the first destination, which has decided, an adopter goes wherever the chain goes, like an owner.
		case patience == 0 && c.Final && c.ClosedBy > l.s.epoch:
			if err := l.move(ctx, func() error { return l.s.sp.Enter(l.name) }); err != nil {
				return err
			}
			continue
		case patience == 0 && c.Epoch > l.s.epoch && c.Taken != 0:
			if err := l.rejoin(ctx); err != nil {
				return err
			}
			continue
		case c.Taken != 0 && silent < patience:
			return fmt.Errorf("%w: at %s another adopter is at work in epoch %d; it showed itself %v ago, and is taken for dead after %v",
				ErrFenced, l.name, c.Epoch, silent.Round(time.Second), patience)
		case c.Final && c.ClosedBy > l.s.epoch:
			return &EpochError{Epoch: c.ClosedBy, Instance: l.owner(ctx, c), Silent: silent}
		case c.Epoch > l.s.epoch && c.Taken != 0, c.Taken != 0 && c.Epoch == l.s.epoch:
			return &EpochError{Epoch: c.Epoch + 1, Instance: l.owner(ctx, c), Silent: silent}
		case c == end:
			return fmt.Errorf("%w: manifest %d of epoch %d at %s is taken, and cannot be read", ErrFenced, c.Next, c.Epoch, l.name)
		}
		end = c
		err := error(nil)
		if c.Epoch < l.s.epoch {
			err = l.handOver(ctx)
		} else {
			err = l.link(ctx, nil, nil) // the birth of this one's
		}
		if errors.Is(err, ErrFenced) {
			// Somebody was quicker. Whether that was an adopter or a last word of the old owner's, the chain itself tells.
			err = l.withdraw(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// withdraw takes back what was proposed and stands nowhere.
func (l *lane) withdraw(ctx context.Context) error {
	return l.retry(ctx, "chain", func(context.Context) error { return l.s.sp.Withdraw(l.name) })
}

// handOver closes the epoch that the chain is in, for this process to go on in its own.
func (l *lane) handOver(ctx context.Context) error { return l.link(ctx, nil, l.claim(l.s.epoch)) }

// owner names who has written the last manifest that there is, for people to read.
func (l *lane) owner(ctx context.Context, c spool.Chain) string {
	if c.Next == 0 {
		return "of an earlier claim"
	}
	m, err := ReadManifest(ctx, l.dest, l.s.class, c.Spool, c.Epoch, c.Next-1)
	if err != nil {
		return "unknown"
	}
	if by := m.Footer.ClosedBy; by != nil {
		return by.Instance
	}
	return m.Header.Instance
}

// follow reads the chain on from where this spool knows it, and makes what stands there its own, wherever it comes from:
// the old owner's last manifest, what an adopter before this one has delivered, or what this one sent before a crash.
func (l *lane) follow(ctx context.Context) error {
	for {
		c := l.cursor()
		if c.Final {
			return nil // over, or in an epoch beyond this spool's
		}
		own, err := l.pending(ctx)
		if err != nil {
			return err
		}
		m, err := l.peek(ctx, c)
		switch {
		case err != nil || m == nil && own == nil:
			return err
		case m == nil || own != nil && own.Hash == m.Hash:
			// It was about to be sent, or was. Should somebody be quicker now, the next turn reads his.
			if err = l.publish(ctx, own); errors.Is(err, ErrFenced) {
				err = l.withdraw(ctx)
			}
		default:
			err = l.accept(ctx, m, c)
		}
		if err != nil {
			return err
		}
	}
}

// pending returns the manifest that is proposed and not acknowledged, nil if there is none.
func (l *lane) pending(ctx context.Context) (m *Manifest, err error) {
	var damage error
	err = l.retry(ctx, "chain", func(context.Context) error {
		b, err := l.s.sp.Proposed(l.name)
		if err == nil {
			m, damage = DecodeManifest(bytes.NewReader(b))
		}
		if m != nil && m.Header.Destination != l.name {
			damage = fmt.Errorf("it is written for destination %q", m.Header.Destination)
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil
		case errors.Is(damage, ErrVersion):
			return Permanent(fmt.Errorf("the manifest that was last proposed: %w", damage))
		}
		return err
	})
	if err != nil || damage == nil {
		return m, err
	}
	// It may have arrived whole, and then it stands, and follows what is known here. If it has not, it never will: who sent
	// it has ended, and whatever comes first under its number stays.
	l.log.Error("ship: the manifest that was last proposed is damaged on this disk, asking the destination for it", "err", damage)
	c := l.cursor()
	if m, err = l.peek(ctx, c); err != nil {
		return nil, err
	}
	if m != nil && l.own(m, c) != nil {
		m = nil // another owner's: who follows the chain, or writes on, finds that out
	}
	return m, l.retry(ctx, "chain", func(context.Context) error { return l.s.sp.Withdraw(l.name) })
}

// peek reads the manifest that would be next, nil if there is none that can be read.
func (l *lane) peek(ctx context.Context, c spool.Chain) (m *Manifest, err error) {
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

// accept makes another owner's manifest, which stands, a link of this spool's chain, if it speaks of this very disk. Its
// owner may have gone on receiving on the original of which this one is a copy, or on a copy of this one: then the chain
// has got all that it ever will from here, see leave.
func (l *lane) accept(ctx context.Context, m *Manifest, c spool.Chain) error {
	if m.Footer.Segment > c.Segment && l.s.sp.Source() == "" {
		// What it speaks of may be in the active segment here, of which a sealed one can be compared.
		if err := l.retry(ctx, "chain", l.s.sp.Seal); err != nil {
			return err
		}
	}
	err := l.sameRecords(m, c)
	if m.Header.Destination != l.name {
		err = fmt.Errorf("it is written for destination %s", m.Header.Destination)
	}
	if err != nil {
		l.log.Info("ship: the chain goes on with other records than those that are here", "epoch", c.Epoch, "manifest", c.Next, "err", err)
		return l.leave(ctx, m)
	}
	if c.Hash != [32]byte{} && m.Header.Prev != hex.EncodeToString(c.Hash[:]) {
		l.log.Info("ship: the chain goes on behind another manifest than the one that is known here", "epoch", c.Epoch, "manifest", c.Next)
		return l.leave(ctx, m)
	}
	b, err := m.Encode()
	if err != nil {
		return err
	}
	l.log.Info("ship: going on behind a manifest of another owner", "epoch", c.Epoch, "manifest", c.Next, "instance", m.Header.Instance)
	return l.retry(ctx, "chain", func(context.Context) error {
		if err := l.s.sp.Withdraw(l.name); err != nil {
			return err
		}
		if err := l.s.sp.Propose(l.name, b); err != nil {
			return err
		}
		after := m.next(c)
		switch by := m.Footer.ClosedBy; {
		case by != nil:
			after.Taken, after.Shared = heard(m.Header.Time), by.holds()
		case c.Taken != 0 || l.s.sp.Source() != "" || m.Footer.Final:
			after.Taken, after.Shared = heard(m.Header.Time), max(c.Shared, 1)
		} // else a copy under the same name has been quicker with what both hold
		return l.ack(after)
	})
}

// heard returns when another owner was heard of, by the time of its manifest. That was written before it was read, so that
// a later time is that of a wrong clock: an owner whose clock is a year ahead would otherwise not be taken for silent for a
// year.
func heard(written time.Time) int64 { return min(segment.Nanos(written), segment.Nanos(time.Now())) }

// newClaim makes the bytes of a claim unlike those of any other, so that two adopters of one name cannot both take the one
// that stands for theirs.
func newClaim() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: crypto/rand ends the process instead
	return hex.EncodeToString(b[:])
}
