package ship

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// linger is how long a manifest waits for segments that are being uploaded: long enough for one manifest to cover segments
// that arrive together, short compared with the age at which segments are sealed.
const linger = time.Second

// writeChain writes one manifest after the other, each for the verified segments that are next in sequence. After
// prepareChain, no other goroutine does: a chain has one writer, within a process as among processes.
//
// It does not wait for a full manifest. A destination that keeps pace gets one for each segment; while it catches up, each
// covers dozens.
func (l *lane) writeChain(ctx context.Context) error {
	var deadline time.Time // until when verified segments wait for those that are being uploaded
	begin := time.Now()
	for {
		wake, sealed := l.s.changed.Next(), l.s.sp.Shelf().Changed()
		ready, complete := l.nextReady()
		var err error
		switch {
		case len(ready) == 0 && l.goesOn():
			return errMoved
		case len(ready) == 0 && l.finalNow():
			err = l.writeManifest(ctx, nil, func(m *Manifest) { m.Footer.Final = true })
			l.noteClosed(err == nil)
		case len(ready) == 0:
			var passed time.Time
			var again time.Duration
			if passed, again, err = l.passedUpTo(begin); err == nil && !passed.IsZero() {
				err = l.writeManifest(ctx, nil, func(m *Manifest) { m.Footer.Passed = passed })
			} else if err == nil {
				_, err = wait.For(ctx, again, wake, sealed)
			}
		case !complete && deadline.IsZero():
			deadline = time.Now().Add(linger)
			fallthrough
		case !complete && time.Now().Before(deadline):
			_, err = wait.For(ctx, time.Until(deadline), wake, sealed)
		default:
			deadline = time.Time{}
			err = l.writeManifest(ctx, ready, nil)
		}
		if isTaken(err) {
			err = l.followOther(ctx)
		}
		if err != nil {
			return err
		}
	}
}

// followOther continues after another owner's manifests. Uploads made meanwhile are kept if the chain stays in its epoch and
// under its id; otherwise it returns errMoved.
func (l *lane) followOther(ctx context.Context) error {
	before := l.cursor()
	if err := l.follow(ctx); err != nil {
		return err
	}
	if c := l.cursor(); c.Spool != before.Spool || c.Epoch != before.Epoch || c.Final {
		return errMoved
	}
	return nil
}

// goesOn reports whether segments are pending after another process's final manifest, or after the chain was left.
func (l *lane) goesOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain.Final && !l.closed && l.hasPending(l.chain)
}

// noteClosed notes whether this process has written the final manifest.
func (l *lane) noteClosed(final bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = final
}

// idleRetry is how soon the spool is asked again if it is not idle when an hour has passed.
const idleRetry = time.Minute

// passedUpTo returns the time for the next `passed`, if an hour has passed since the last one and the spool is idle: a reader
// that waits for a complete hour must be able to tell an idle spool from a dead one. If t is zero, there is nothing to state,
// and again is when to ask next. begin is when this process began to write the chain.
func (l *lane) passedUpTo(begin time.Time) (t time.Time, again time.Duration, err error) {
	c := l.cursor()
	if c.Final {
		return t, headInterval, nil // until a new epoch begins, if ever
	}
	last := c.Passed
	if last.IsZero() {
		last = begin
	}
	if left := time.Until(last.Truncate(time.Hour).Add(time.Hour)); left > 0 {
		return t, left, nil
	}
	t, idle, err := l.s.sp.Shelf().Idle(l.name)
	switch {
	case errors.Is(err, spool.ErrClosed):
		return time.Time{}, 0, err
	case err != nil: // the disk may be full: an idle hour can wait, new segments cannot
		l.log.Warn("ship: cannot record an idle hour in the spool; will retry", "err", err, "again_in", idleRetry)
	case idle:
		return t, 0, nil
	}
	return time.Time{}, idleRetry, nil
}

// nextReady returns the verified deliveries that are next in sequence. complete is true if waiting for more is pointless.
// Half a window is enough, so that the other half is uploaded meanwhile.
func (l *lane) nextReady() (ready []*delivery, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.window) && l.window[n].done {
		n++
	}
	full := min(maxManifestSegments, l.s.o.Workers)
	// A delivery that waits for room in the spool may get it only through this manifest.
	return slices.Clone(l.window[:min(n, maxManifestSegments)]), n == len(l.window) || n >= full || l.window[n].waits
}

// finalNow reports whether a final manifest is wanted and true. The writer asks just before it writes: the answer may have
// changed since Finalize was called.
func (l *lane) finalNow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.final && !l.chain.Final && len(l.window) == 0 && l.s.isCovered(l.chain)
}

// isCovered reports whether a chain covers every record ever appended to the spool, including records still in memory:
// `final` must not be written before they are delivered.
func (s *Shipper) isCovered(c spool.Chain) bool {
	return len(s.sp.Shelf().Sealed(c.Segment, 1)) == 0 && c.Through >= s.sp.Stats().Appended
}

// writeManifest writes the next manifest for these deliveries, which must be the first of the window, after change has
// modified it. If the manifest would be too large, it covers fewer deliveries, and the next one covers the others.
func (l *lane) writeManifest(ctx context.Context, ready []*delivery, change func(*Manifest)) error {
	var m *Manifest
	err := l.retry(ctx, "chain", func(ctx context.Context) error {
		for n := len(ready); ; n /= 2 {
			next := l.newManifest(ready[:n])
			if change != nil {
				change(next)
			}
			if signer := l.s.o.Signer; signer != nil {
				if err := l.signed(ctx, func() error { return next.Sign(signer) }); err != nil {
					return err
				}
			}
			m = next
			b, err := m.Encode()
			if len(b) <= maxManifest || n <= 1 { // much damage has long lines
				return err
			}
		}
	})
	if err != nil {
		return err
	}
	return l.publish(ctx, m)
}

// newManifest describes deliveries. Nothing in it but the header and the receipts depends on the destination, so that the
// chains of two destinations can be compared line by line.
func (l *lane) newManifest(ready []*delivery) *Manifest {
	c := l.cursor()
	m := &Manifest{
		Header: ManifestHeader{
			Class: l.s.class, Spool: c.Spool, Epoch: c.Epoch, Number: c.Next, Prev: hex.EncodeToString(c.Hash[:]), PrevLast: c.Through,
			Instance: l.s.instance, Destination: l.name, Forgotten: l.s.forgottenNames(), Time: time.Now().UTC(),
		},
		Footer: ManifestFooter{Segment: c.Segment, Last: c.Through},
	}
	if c.Joined > 1 {
		m.Header.Joined = c.Joined
	}
	for _, d := range ready {
		switch {
		case d.stated:
		case d.rec != nil && d.rec.Records > 0:
			line := segmentLine(d.rec, d.receipt)
			line.Whole = d.whole
			m.Segments = append(m.Segments, line)
		case d.seg.Last >= d.seg.First:
			// There is no object: no record is readable any more, or another owner's object has all of them. But the sequence
			// must not have a hole.
			line := SegmentLine{Segment: d.seg.Number, First: max(d.seg.First, d.rest), Last: d.seg.Last, Whole: d.whole}
			if line.First <= line.Last {
				line.Gaps = []segment.Range{{First: line.First, Last: line.Last}}
			}
			m.Segments = append(m.Segments, line)
		}
		if !lossless(&d.seg) {
			m.Losses = append(m.Losses, lossLine(&d.seg))
		}
		m.Footer.Segment, m.Footer.Last = d.seg.Number, d.seg.Last
	}
	return m
}

// forgottenNames names the destinations that were given up.
func (s *Shipper) forgottenNames() (names []string) {
	ledger := s.sp.Ledger()
	for _, name := range slices.Sorted(maps.Keys(ledger.Destinations)) {
		if ledger.Destinations[name].Forgotten {
			names = append(names, name)
		}
	}
	return names
}

// publish sends a manifest until the destination has it, and acknowledges what it covers. A destination never overwrites, so
// only one of two writers of a number succeeds. The other gets a takenError and must not continue.
func (l *lane) publish(ctx context.Context, m *Manifest) error {
	b, err := m.Encode()
	if err != nil {
		return err
	}
	o := BytesObject(object.ManifestKey(l.s.class, m.Header.Spool, m.Header.Epoch, m.Header.Number), l.s.spool, b)
	o.ContentType = "application/x-ndjson"
	l.mu.Lock()
	o.New = l.attempts.noteManifest(&m.Header)
	l.mu.Unlock()
	err = l.retry(ctx, "chain", func(ctx context.Context) error {
		// Durable here before it is sent: after a crash the same bytes are sent again.
		if err := l.s.sp.Shelf().Propose(l.name, b, m.Footer.Final); err != nil {
			return ofHost(err)
		}
		r, err := l.dest.Put(ctx, o, io.NewSectionReader(bytes.NewReader(b), 0, o.Size))
		o.New = false
		if errors.Is(err, ErrConflict) {
			return l.resolveContest(ctx, m, err)
		}
		if err == nil {
			err = o.Check(r)
		}
		return err
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.attempts.notePublished(&m.Header)
	l.mu.Unlock()
	return l.retry(ctx, "chain", func(context.Context) error { return l.ack(m.next(l.cursor())) })
}

// ack saves the chain's state after a manifest that is at the destination, and advances the window. It reads the state back:
// if the epoch is over, the spool continues the chain in a new one.
func (l *lane) ack(c spool.Chain) error {
	if err := l.s.sp.Shelf().Ack(l.name, c); err != nil {
		return ofHost(err)
	}
	after, err := l.s.sp.Shelf().Chain(l.name)
	if err != nil {
		return err
	}
	l.setCursor(after)
	l.s.changed.Broadcast()
	l.hooks.noteAcked(c)
	return nil
}

func (l *lane) cursor() spool.Chain {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain
}

// setCursor sets the chain's state and advances the window. Deliveries that leave the window are complete: their bytes are
// the rate in Stats.
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
		l.backlog.follow(c.Segment, l.window[:n])
	}
	l.attempts.forgetCovered(c.Segment)
	l.chain, l.window = c, slices.Delete(l.window, 0, n)
}
