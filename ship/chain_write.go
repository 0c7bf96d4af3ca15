package ship

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// linger is how long a manifest waits for a segment that is being uploaded right now.
const linger = time.Second

// begin brings the chain to where the next manifest can be written: what an earlier process proposed is sent unchanged,
// the chain of an earlier epoch is closed, and a new one gets its birth manifest.
func (l *lane) begin(ctx context.Context) error {
	if err := l.resume(ctx); err != nil {
		return err
	}
	if c := l.cursor(); c.Epoch < l.s.epoch && !c.Final {
		if err := l.link(ctx, nil, func(m *Manifest) { m.Footer.ClosedBy = &Owner{l.s.o.Instance, l.s.epoch} }); err != nil {
			return err
		}
	}
	if c := l.cursor(); c.Epoch < l.s.epoch {
		c.Epoch, c.Next, c.Final = l.s.epoch, 0, false
		l.setCursor(c)
	}
	if l.cursor().Next > 0 {
		return nil
	}
	if err := l.find(ctx); err != nil || l.cursor().Next > 0 {
		return err
	}
	return l.link(ctx, nil, nil)
}

// resume sends the manifest that was about to be sent when the last process ended.
func (l *lane) resume(ctx context.Context) error {
	var m *Manifest
	err := l.retry(ctx, "chain", func(context.Context) error {
		b, err := l.s.sp.Proposed(l.name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if m, err = DecodeManifest(bytes.NewReader(b)); err != nil {
			return Permanent(fmt.Errorf("the manifest that was last proposed is damaged on this disk: %w", err))
		}
		return nil
	})
	if err != nil || m == nil {
		return err
	}
	return l.publish(ctx, m)
}

// find looks for a chain that this spool has begun and forgotten: its state was lost with a file of the spool's
// directory. What lies there is taken over as far as it speaks of this spool's own segments.
func (l *lane) find(ctx context.Context) error {
	if l.cursor().Hash != [32]byte{} {
		return nil // it knows its past
	}
	for {
		c := l.cursor()
		var m *Manifest
		err := l.retry(ctx, "chain", func(ctx context.Context) (err error) {
			m, err = ReadManifest(ctx, l.dest, l.s.class, l.s.spool, c.Epoch, c.Next)
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrVerify) || IsPermanent(err) {
				// Some destinations answer "forbidden" for what is not there. If something is, and is not ours, our manifest will
				// not get its number: only a Put decides that.
				m, err = nil, nil
			}
			return err
		})
		if err != nil || m == nil {
			return err
		}
		if err := l.own(m, c); err != nil {
			return fmt.Errorf("%w: manifest %d of epoch %d is there: %w", ErrFenced, c.Next, c.Epoch, err)
		}
		l.log.Warn("ship: found a manifest of this spool that its own directory does not know any more", "manifest", c.Next)
		if err := l.publish(ctx, m); err != nil {
			return err
		}
	}
}

// own returns an error unless m can only have been written from this very directory.
func (l *lane) own(m *Manifest, c spool.Chain) error {
	h := &m.Header
	if h.Instance != l.s.o.Instance || h.Destination != l.name || m.Footer.ClosedBy != nil {
		return fmt.Errorf("instance %s wrote it for destination %s", h.Instance, h.Destination)
	}
	if c.Next > 0 && h.Prev != hex.EncodeToString(c.Hash[:]) {
		return errors.New("it does not follow the one before")
	}
	for i := range m.Segments {
		line := &m.Segments[i]
		if line.Segment <= c.Segment {
			continue // deleted long ago
		}
		have := l.s.sp.Sealed(line.Segment-1, 1)
		if len(have) == 0 || have[0].Number != line.Segment {
			return fmt.Errorf("it speaks of segment %d, which is not here", line.Segment)
		}
		// Arrival times are in nanoseconds: no other spool has the same first and last ones beside the same counts.
		seg := &have[0]
		if seg.First != line.First || seg.Last != line.Last ||
			seg.Records == line.Records && (seg.Bytes != line.Bytes || !seg.MinTime.Equal(line.MinTime) || !seg.MaxTime.Equal(line.MaxTime)) {
			return fmt.Errorf("it speaks of another segment %d than the one here", line.Segment)
		}
	}
	return nil
}

// writeChain writes one manifest after the other, each for the segments that are next in sequence and verified.
func (l *lane) writeChain(ctx context.Context) error {
	var deadline time.Time // until when what is ready waits for what is being uploaded
	for {
		wake, sealed := l.s.changed.wait(), l.s.sp.Changed()
		ready, complete := l.ready()
		var err error
		switch {
		case len(ready) == 0 && l.finalNow():
			err = l.link(ctx, nil, func(m *Manifest) { m.Footer.Final = true })
		case len(ready) == 0:
			err = wait(ctx, wake, sealed, nil)
		case !complete && deadline.IsZero():
			deadline = time.Now().Add(linger)
			fallthrough
		case !complete && time.Now().Before(deadline):
			t := time.NewTimer(time.Until(deadline))
			err = wait(ctx, wake, sealed, t.C)
			t.Stop()
		default:
			deadline = time.Time{}
			err = l.link(ctx, ready, nil)
		}
		if err != nil {
			return err
		}
	}
}

func wait(ctx context.Context, a, b <-chan struct{}, timer <-chan time.Time) error {
	select {
	case <-a:
	case <-b:
	case <-timer:
	case <-ctx.Done():
	}
	return ctx.Err()
}

// ready returns the deliveries that are next in sequence and verified. complete: there is no point in waiting for more.
// Half a window is enough, so that the other half is on its way meanwhile.
func (l *lane) ready() (ready []*delivery, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.window) && l.window[n].done {
		n++
	}
	full := min(MaxManifestSegments, l.s.o.Workers)
	return slices.Clone(l.window[:min(n, MaxManifestSegments)]), n == len(l.window) || n >= full
}

// finalNow reports whether a final manifest is wanted and true.
func (l *lane) finalNow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.final && !l.chain.Final && len(l.window) == 0 && l.s.covered(l.chain)
}

// covered reports whether a chain covers everything that the spool has ever been given.
func (s *Shipper) covered(c spool.Chain) bool {
	return len(s.sp.Sealed(c.Segment, 1)) == 0 && c.Through >= s.sp.Stats().Appended
}

// link writes the next manifest: for these deliveries, which must be the first of the window, and as change says.
func (l *lane) link(ctx context.Context, ready []*delivery, change func(*Manifest)) error {
	var m *Manifest
	err := l.retry(ctx, "chain", func(context.Context) (err error) {
		for n := len(ready); ; n /= 2 {
			m = l.manifest(ready[:n])
			if change != nil {
				change(m)
			}
			b, err := m.Encode()
			if err != nil {
				return err
			}
			if len(b) > maxManifest && n > 1 {
				continue // much damage has long lines
			}
			return l.s.sp.Propose(l.name, b)
		}
	})
	if err != nil {
		return err
	}
	return l.publish(ctx, m)
}

// manifest describes deliveries.
func (l *lane) manifest(ready []*delivery) *Manifest {
	c := l.cursor()
	m := &Manifest{
		Header: ManifestHeader{
			Class: l.s.class, Spool: l.s.spool, Epoch: c.Epoch, Number: c.Next, Prev: hex.EncodeToString(c.Hash[:]), PrevLast: c.Through,
			Instance: l.s.o.Instance, Destination: l.name, Forgotten: l.s.forgotten(), Time: time.Now().UTC(),
		},
		Footer: ManifestFooter{Segment: c.Segment, Last: c.Through},
	}
	if c.Joined > 1 {
		m.Header.Joined = c.Joined
	}
	for _, d := range ready {
		switch {
		case d.rec != nil && d.rec.Records > 0:
			m.Segments = append(m.Segments, segmentLine(d.rec, d.receipt))
		case d.seg.Last >= d.seg.First:
			all := segment.Range{First: d.seg.First, Last: d.seg.Last}
			m.Segments = append(m.Segments, SegmentLine{Segment: d.seg.Number, First: all.First, Last: all.Last, Gaps: []segment.Range{all}})
		}
		if d.seg.Lost != (segment.Losses{}) {
			m.Losses = append(m.Losses, LossLine{Segment: d.seg.Number, After: d.seg.Last, Lost: d.seg.Lost})
		}
		m.Footer.Segment, m.Footer.Last = d.seg.Number, d.seg.Last
	}
	return m
}

// forgotten names the destinations that were given up.
func (s *Shipper) forgotten() (names []string) {
	ledger := s.sp.Ledger()
	for _, name := range slices.Sorted(maps.Keys(ledger.Destinations)) {
		if ledger.Destinations[name].Forgotten {
			names = append(names, name)
		}
	}
	return names
}

// publish sends a manifest until it stands at the destination, and acknowledges what it covers.
func (l *lane) publish(ctx context.Context, m *Manifest) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	o := BytesObject(ManifestKey(l.s.class, l.s.spool, m.Header.Epoch, m.Header.Number), l.s.spool, b)
	o.ContentType = "application/x-ndjson"
	err = l.retry(ctx, "chain", func(ctx context.Context) error {
		// Durable here before it is there: after a crash the same bytes are sent again.
		if err := l.s.sp.Propose(l.name, b); err != nil {
			return err
		}
		r, err := l.dest.Put(ctx, o, io.NewSectionReader(bytes.NewReader(b), 0, o.Size))
		if errors.Is(err, ErrConflict) {
			return fmt.Errorf("%w: %v", ErrFenced, err)
		}
		if err == nil {
			err = o.Check(r)
		}
		return err
	})
	if err != nil {
		return err
	}
	return l.retry(ctx, "chain", func(context.Context) error { return l.ack(m) })
}

// ack tells the spool what a manifest that stands covers, and moves the window on.
func (l *lane) ack(m *Manifest) error {
	before := l.cursor()
	if err := l.s.sp.Ack(l.name, m.next(before)); err != nil {
		return err
	}
	after, err := l.s.sp.Chain(l.name)
	if err != nil {
		return err
	}
	l.setCursor(after)
	l.s.changed.broadcast()
	return nil
}

func (l *lane) cursor() spool.Chain {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain
}

// setCursor moves the chain and, with it, the window.
func (l *lane) setCursor(c spool.Chain) {
	now := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.window) && l.window[n].seg.Number <= c.Segment {
		l.meter.add(l.window[n].seg.Bytes, now)
		n++
	}
	if c.Segment != l.chain.Segment {
		l.backlog.move(c.Segment, l.window[:n])
	}
	l.chain, l.window = c, slices.Delete(l.window, 0, n)
}
