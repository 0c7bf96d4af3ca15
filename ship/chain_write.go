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

// linger is how long a manifest waits for a segment that is being uploaded right now. Long enough to put what arrives
// together into one manifest, short beside the age at which segments are sealed.
const linger = time.Second

// writeChain writes one manifest after the other, each for the segments that are next in sequence and verified. It is
// the only goroutine that does, after begin: a chain has one writer, in this process as among processes.
//
// Nobody waits for a manifest to fill up. A destination that keeps pace gets one for each segment, one that catches up
// gets them by the dozen.
func (l *lane) writeChain(ctx context.Context) error {
	var deadline time.Time // until when what is ready waits for what is being uploaded
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

// followOther goes on after what another owner has written. An upload that was made meanwhile is kept if it comes next in the same
// chain.
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

// goesOn reports whether there is something to be told after a final manifest that an earlier process or another owner has
// written, or of a chain that was left.
func (l *lane) goesOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.chain.Final && !l.closed && l.hasPending(l.chain)
}

// noteClosed notes that this process has said that nothing follows.
func (l *lane) noteClosed(final bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = final
}

// idleRetry is how soon a spool that is not idle is asked again, once an hour has passed.
const idleRetry = time.Minute

// passedUpTo returns up to when everything is at the destination, if an hour has passed since the chain last said so, and
// nothing came in: who waits for an hour to be complete must be able to tell an idle spool from a dead one. Zero: there
// is nothing to say, look again after the given time. begin is when this process began to write the chain.
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
	case err != nil: // the disk may be full: an hour can wait to be told of, segments that come in meanwhile cannot
		l.log.Warn("ship: cannot record an idle hour in the spool; will retry", "err", err, "again_in", idleRetry)
	case idle:
		return t, 0, nil
	}
	return time.Time{}, idleRetry, nil
}

// nextReady returns the deliveries that are next in sequence and verified. complete: there is no point in waiting for more.
// Half a window is enough, so that the other half is on its way meanwhile.
func (l *lane) nextReady() (ready []*delivery, complete bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for n < len(l.window) && l.window[n].done {
		n++
	}
	full := min(maxManifestSegments, l.s.o.Workers)
	// One that waits for room may need this very manifest to get it.
	return slices.Clone(l.window[:min(n, maxManifestSegments)]), n == len(l.window) || n >= full || l.window[n].waits
}

// finalNow reports whether a final manifest is wanted and true. Both are asked at the moment of writing, by the one who
// writes: what was true when Finalize was called may not be any more.
func (l *lane) finalNow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.final && !l.chain.Final && len(l.window) == 0 && l.s.isCovered(l.chain)
}

// isCovered reports whether a chain covers everything that the spool has ever been given. Records that wait in memory
// count as given: `final` must not be written in front of them.
func (s *Shipper) isCovered(c spool.Chain) bool {
	return len(s.sp.Shelf().Sealed(c.Segment, 1)) == 0 && c.Through >= s.sp.Stats().Appended
}

// writeManifest writes the next manifest: for these deliveries, which must be the first of the window, and as change says. If
// the bytes become too many it takes fewer deliveries; the others are next.
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
			// Kept once, and nothing of it is readable: there is no object, and the sequence must not have a hole. Or another
			// owner's object has all of it.
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

// publish sends a manifest until it is at the destination, and acknowledges what it covers. Of two writers of one
// number the destination lets only one win, since it never overwrites; the other learns it here and must not go on.
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
		// Durable here before it is there: after a crash the same bytes are sent again.
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

// ack tells the spool what the chain is with a manifest that stands, and moves the window on. The spool answers with where the chain
// goes on: in a new epoch, if the old one is over.
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

// setCursor moves the chain and, with it, the window. What leaves the window is what was delivered: its bytes are the
// rate that Stats show.
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
