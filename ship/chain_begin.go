package ship

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"

	"github.com/penstock-go/penstock/spool"
)

// begin brings the chain to where the next manifest can be written. It runs before anything else is sent, so that a
// destination never holds data of a spool of which its chain says nothing, and so that a copy of a volume learns that it
// is one before it has sent a byte of data.
//
// Each step leaves a state from which the next process goes on, wherever this one ends: a manifest is proposed (durable
// here), sent, acknowledged, and only then is the next one made.
func (l *lane) begin(ctx context.Context) error {
	if err := l.anchored(ctx); err != nil {
		return err
	}
	if err := l.seek(ctx); err != nil {
		return err
	}
	if l.s.sp.Source() != "" {
		// Whoever has claimed the first destination need not wait for anybody here.
		return l.takeOver(ctx, 0)
	}
	for {
		var err error
		switch c := l.cursor(); {
		case c.Left:
			_, err = l.rename(ctx)
		case c.Taken != 0:
			err = l.rejoin(ctx)
		default:
			if err = l.beginOwn(ctx); err == nil {
				return nil
			}
			if taken, ok := errors.AsType[*takenError](err); ok {
				err = l.meet(ctx, taken.m)
			}
		}
		if err != nil {
			return err
		}
	}
}

// meet takes note of another owner's manifest, which has the number that this one was about to use. If it speaks of what
// is here it is as good as one of this spool's; if not, the chain is left.
func (l *lane) meet(ctx context.Context, m *Manifest) error {
	c := l.cursor()
	if h := &m.Header; h.Spool != c.Spool || h.Epoch != c.Epoch || h.Number != c.Next {
		return l.withdraw(ctx) // the chain has moved since
	}
	return l.accept(ctx, m, c)
}

// beginOwn is begin for a chain that nobody else is known to have continued.
func (l *lane) beginOwn(ctx context.Context) error {
	// What an earlier process proposed may have arrived: it is sent unchanged before anything else is said.
	if err := l.resume(ctx); err != nil {
		return err
	}
	if err := l.find(ctx); err != nil {
		return err
	}
	// The number may be taken, by the owner of a copy of this volume or of the original: nothing is sent before that is known.
	c := l.cursor()
	if c.Hash != [32]byte{} && !c.Final {
		if m, err := l.peek(ctx, c); err != nil {
			return err
		} else if m != nil {
			return &takenError{m}
		}
	}
	// An earlier epoch that was not closed: whoever wrote it may be alive, on the volume that this one is a copy of. Taking
	// the next number of its chain fences it; if it was quicker, this one is fenced.
	if c := l.cursor(); c.Epoch < l.s.epoch && !c.Final {
		if err := l.handOver(ctx); err != nil {
			return err
		}
	}
	if c := l.cursor(); c.Epoch < l.s.epoch {
		c.Before, _ = c.Last()
		c.Epoch, c.Next, c.Final = l.s.epoch, 0, false
		l.setCursor(c)
	}
	if l.cursor().Next > 0 {
		return nil // born already
	}
	return l.link(ctx, nil, nil)
}

// anchored waits until the chain's last manifest is at the destination. Where it is not, the destination is not the place
// that it was: a volume that is not mounted at its directory, another bucket of the same name. What would be stored there
// counts as delivered here, and is deleted.
func (l *lane) anchored(ctx context.Context) error {
	c := l.cursor()
	last, ok := c.Last()
	if !ok {
		return nil
	}
	return l.retry(ctx, "chain", func(ctx context.Context) error {
		m, err := ReadManifest(ctx, l.dest, l.s.class, c.Spool, last.Epoch, last.Number)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return Permanent(fmt.Errorf("%s was delivered and is not there now: see that the destination is the place that it was, "+
				"for example that its volume is mounted; if it was emptied on purpose, give it another name, and it is owed what is kept from now on",
				ManifestKey(l.s.class, c.Spool, last.Epoch, last.Number)))
		case errors.Is(err, ErrVerify) || err == nil && m.Hash != c.Hash:
			// The place is the right one, and an audit says more about what is in it. Damage there must not hold up what is here.
			if err := l.genuine(ctx); err != nil {
				return err
			}
			l.log.Error("ship: the last manifest that was delivered is not what was written, going on", "epoch", last.Epoch, "manifest", last.Number, "err", err)
			return nil
		}
		return err // also where it may not be read: what cannot be read cannot be verified either
	})
}

// resume sends the manifest that was about to be sent when the last process ended.
func (l *lane) resume(ctx context.Context) error {
	m, err := l.pending(ctx)
	if err != nil || m == nil {
		return err
	}
	return l.publish(ctx, m)
}

// seek looks for the newest epoch of a chain whose state is lost. It may have ended there, or come to it in any way.
func (l *lane) seek(ctx context.Context) error {
	c := l.cursor()
	if !c.Lost {
		return nil
	}
	for at := c; at.Epoch > 0; at.Epoch-- {
		m, err := l.peek(ctx, at)
		if err != nil {
			return err
		}
		if m != nil {
			c.Epoch = at.Epoch
			break
		}
	}
	return l.move(ctx, func() error { return l.s.sp.Found(l.name, c.Epoch) })
}

// find looks for a chain that this spool has begun and forgotten: its state was lost with a file of the spool's
// directory. What lies there is taken over, link by link, as far as it speaks of this spool's own segments; without that
// a lost file of a hundred bytes would look like another owner's claim, and end the shipping.
func (l *lane) find(ctx context.Context) error {
	if l.cursor().Hash != [32]byte{} {
		return nil // it knows its past
	}
	for {
		c := l.cursor()
		m, err := l.peek(ctx, c)
		if err != nil || m == nil {
			return err
		}
		if err := l.own(m, c); err != nil {
			l.log.Warn("ship: another owner's manifest is where this spool's chain begins", "epoch", c.Epoch, "manifest", c.Next, "err", err)
			return &takenError{m}
		}
		l.log.Warn("ship: found a manifest of this spool that its own directory does not know any more", "manifest", c.Next)
		if err := l.publish(ctx, m); err != nil {
			return err
		}
	}
}

// own returns an error unless m can only have been written from this very directory. Names do not prove that, since the
// clone of a volume has the same; the records do.
func (l *lane) own(m *Manifest, c spool.Chain) error {
	h := &m.Header
	if h.Instance != l.s.o.Instance || h.Destination != l.name || m.Footer.ClosedBy != nil {
		return fmt.Errorf("instance %s wrote it for destination %s", h.Instance, h.Destination)
	}
	if c.Next > 0 && h.Prev != hex.EncodeToString(c.Hash[:]) {
		return errors.New("it does not follow the one before")
	}
	return l.sameRecords(m, c)
}

// sameRecords returns an error unless all segments that a manifest adds to the chain are here, with the same records, and
// the chain then ends where a segment of this spool ends. The last also rules out a manifest that covers a segment without
// records, of which this spool has one with records under the same number.
func (l *lane) sameRecords(m *Manifest, c spool.Chain) error {
	for i := range m.Segments {
		line := &m.Segments[i]
		if line.Segment <= c.Segment && line.Last <= c.Through {
			continue // deleted long ago
		}
		have := l.s.sp.Sealed(line.Segment-1, 1)
		if line.Segment <= c.Segment || len(have) == 0 || have[0].Number != line.Segment {
			return fmt.Errorf("it speaks of segment %d, which is not here", line.Segment)
		}
		if err := l.sameSegment(line, &have[0]); err != nil {
			return err
		}
	}
	after := m.next(c)
	last := c.Through
	if after.Segment != c.Segment {
		have := l.s.sp.Sealed(after.Segment-1, 1)
		if len(have) == 0 || have[0].Number != after.Segment {
			return fmt.Errorf("it ends with segment %d, which is not here", after.Segment)
		}
		last = have[0].Last
	}
	if after.Through != last {
		return fmt.Errorf("it ends with record %d, and segment %d ends with record %d here", after.Through, after.Segment, last)
	}
	return nil
}

// sameSegment returns an error unless a line speaks of this very segment. Arrival times are in nanoseconds: no other spool
// has the same first and last ones beside the same counts.
func (l *lane) sameSegment(line *SegmentLine, seg *spool.Segment) error {
	if seg.First != line.First || seg.Last != line.Last ||
		seg.Records == line.Records && (seg.Bytes != line.Bytes || !seg.MinTime.Equal(line.MinTime) || !seg.MaxTime.Equal(line.MaxTime)) {
		return fmt.Errorf("it speaks of another segment %d than the one here", line.Segment)
	}
	return nil
}
