package ship

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/penstock-go/penstock/spool"
)

// errMoved: the chain goes on under another identity, and everything begins anew.
var errMoved = errors.New("ship: the chain goes on under another identity")

// leave ends the part that this spool has in a chain which another owner continues with the manifest m: the segments that
// m and the manifests before have in common with this spool are delivered, the rest is owed under the next identity.
func (l *lane) leave(ctx context.Context, m *Manifest) error {
	c := l.cursor()
	seg, through := c.Segment, c.Through
	err := l.retry(ctx, "chain", func(ctx context.Context) error {
		seg, through = c.Segment, c.Through
		for i := range m.Segments {
			line := &m.Segments[i]
			for _, have := range l.s.sp.Sealed(seg, 0) {
				if have.First > line.Last {
					break
				}
				if have.Last <= through { // without records
					seg = have.Number
					continue
				}
				upTo := have.Last
				if l.sameSegment(line, &have) != nil {
					var err error
					if upTo, err = l.common(ctx, line, &have); err != nil {
						return err
					}
				}
				through = max(through, upTo)
				if through < have.Last {
					return nil
				}
				seg = have.Number
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	l.log.Warn("ship: another owner continues this chain with records of its own", "epoch", m.Header.Epoch, "manifest", m.Header.Number,
		"instance", m.Header.Instance, "in_common_up_to", through)
	return l.left(ctx, seg, through)
}

// left notes that the chain contains what it ever will of this spool.
func (l *lane) left(ctx context.Context, seg, through uint64) error {
	return l.move(ctx, func() error { return l.s.sp.Leave(l.name, seg, through) })
}

// move changes the chain in the spool, and follows.
func (l *lane) move(ctx context.Context, change func() error) error {
	return l.retry(ctx, "chain", func(context.Context) error {
		if err := change(); err != nil {
			return err
		}
		c, err := l.s.sp.Chain(l.name)
		if err != nil {
			return err
		}
		l.setCursor(c)
		l.s.changed.broadcast()
		return nil
	})
}

// rename waits until there is a record that the chain which was left does not contain, and goes on under the identity that
// is named after it. So whoever has the same records, a copy of this volume or its adopter, finds the same name, and
// whoever has others, another one. ok is false if an adopter has nothing more to deliver.
func (l *lane) rename(ctx context.Context) (ok bool, err error) {
	for {
		wake, sealed := l.s.changed.wait(), l.s.sp.Changed()
		c := l.cursor()
		for _, seg := range l.s.sp.Sealed(c.Segment, 0) {
			if seg.Last <= c.Through || seg.Last < seg.First {
				continue
			}
			var name string
			err := l.retry(ctx, "chain", func(ctx context.Context) (err error) {
				name, err = l.identity(ctx, &seg, max(seg.First, c.Through+1))
				return err
			})
			if err == nil {
				err = l.move(ctx, func() error { return l.s.sp.Rename(l.name, name) })
			}
			return true, err
		}
		if l.s.sp.Source() != "" {
			return false, nil
		}
		if err := wait(ctx, wake, sealed, nil); err != nil {
			return false, err
		}
	}
}

// identity names the spool that begins with one record. The first ten characters are those of the spool that it comes
// from: they tell an auditor that the two are related.
func (l *lane) identity(ctx context.Context, seg *spool.Segment, first uint64) (string, error) {
	h := sha256.New()
	old := l.cursor().Spool
	h.Write([]byte(old))
	var n [24]byte
	r, done, err := l.records(ctx, seg.Number)
	if err != nil {
		return "", err
	}
	defer done()
	for {
		seq, rec, err := r.Next()
		if err == nil && seq < first {
			continue
		}
		// Without a readable record its place has to do.
		binary.BigEndian.PutUint64(n[:], first)
		if err == nil {
			binary.BigEndian.PutUint64(n[8:], seq)
			binary.BigEndian.PutUint64(n[16:], uint64(rec.Time))
			h.Write(rec.Data)
		}
		h.Write(n[:])
		break
	}
	const digits = "0123456789abcdefghjkmnpqrstvwxyz"
	name := []byte(old[:lineageLen])
	for _, b := range h.Sum(nil)[:len(old)-lineageLen] {
		name = append(name, digits[b&31])
	}
	return string(name), nil
}

// lineageLen is how many characters of a spool's id all identities that follow from it share.
const lineageLen = 10

// Related reports whether two spool ids are those of one volume and its copies: the records of one may be in an object
// that the other has named.
func Related(a, b string) bool {
	return len(a) == len(b) && len(a) > lineageLen && Lineage(a) == Lineage(b)
}

// Lineage is what the ids of a volume and its copies have in common, and with what all of them begin.
func Lineage(id string) string { return id[:min(len(id), lineageLen)] }

// rejoin brings a chain that another owner has continued to where this spool may write again: under the next identity, or,
// if the other one has fallen silent before it had delivered what both hold, in the other one's place.
func (l *lane) rejoin(ctx context.Context) error {
	defer l.await(nil)
	for {
		if err := l.follow(ctx); err != nil {
			return err
		}
		c := l.cursor()
		switch {
		case c.Left, c.Taken == 0:
			return nil
		case c.Through >= min(c.Shared, l.s.sp.Stats().Appended) && l.sealedShared(c):
			if err := l.left(ctx, c.Segment, c.Through); err != nil {
				return err
			}
			continue
		case c.Final: // it has ended without what both hold: nobody will bring it under this identity any more
			if err := l.left(ctx, c.Segment, c.Through); err != nil {
				return err
			}
			continue
		}
		silent := time.Since(time.Unix(0, c.Taken))
		if silent >= l.s.o.Patience {
			l.log.Warn("ship: the owner of this chain has fallen silent, going on in its place", "epoch", c.Epoch, "silent", silent.Round(time.Second))
			err := l.link(ctx, nil, l.claim(c.Epoch+1))
			if taken, ok := errors.AsType[*takenError](err); ok && taken != nil {
				err = l.withdraw(ctx)
			}
			if err != nil {
				return err
			}
			continue
		}
		l.await(fmt.Errorf("%w: waiting for the records up to %d, which both hold; that owner showed itself %v ago, and is taken for dead after %v",
			ErrFenced, c.Shared, silent.Round(time.Second), l.s.o.Patience))
		t := time.NewTimer(min(followEvery, max(time.Millisecond, l.s.o.Patience-silent)))
		err := wait(ctx, l.reset.wait(), nil, t.C)
		t.Stop()
		if err != nil {
			return err
		}
	}
}

// followEvery is how often a chain that another owner continues is looked at.
const followEvery = 2 * time.Second

// sealedShared reports whether nothing that both may hold is still to come here: segments that begin at or before Shared.
func (l *lane) sealedShared(c spool.Chain) bool {
	next := l.s.sp.Sealed(c.Segment, 1)
	return len(next) == 0 || next[0].First > c.Shared || next[0].Last < next[0].First
}

// claim makes a manifest close the chain's epoch for this process, which goes on in another one. Half of the claim is the
// last record that its volume held when it was opened: an owner whose volume has that one, too, leaves the rest to this one
// up to there. The other half is random, so that two adopters of one name cannot both take the one that stands for theirs.
func (l *lane) claim(epoch uint32) func(*Manifest) {
	claim := fmt.Sprintf("%016x%s", l.s.sp.Recovered(), newClaim()[:16])
	return func(m *Manifest) {
		m.Footer.ClosedBy = &Owner{Instance: l.s.o.Instance, Epoch: epoch, Claim: claim}
	}
}

// holds returns the last record that the volume of a claimant held. What an older program claimed does not tell.
func (o *Owner) holds() uint64 {
	if len(o.Claim) != 32 {
		return math.MaxUint64
	}
	n, err := strconv.ParseUint(o.Claim[:16], 16, 64)
	if err != nil {
		return math.MaxUint64
	}
	return n
}
