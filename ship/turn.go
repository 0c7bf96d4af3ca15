package ship

import (
	"context"
	"errors"

	"github.com/penstock-go/penstock/spool"
)

// A full spool always has room for the staged file of the segment that is next for a destination. Any other segment may find
// none. That is no failure of the destination, and time does not cure it: the segment waits for its turn, and the spool's
// next change after that wakes it. If it backed off like a failed operation, the segments of a full spool would sleep one
// after the other until each is next, and a drain would spend its time on nothing else.

// sendInTurn is send. If the spool has no room for a segment that is not next, it waits for the segment's turn and sends it
// then. The wait is certain to end: the segments before it are delivered, until it is next itself.
func (l *lane) sendInTurn(ctx context.Context, d *delivery) (rec *spool.StageRecord, r Receipt, whole *Whole, err error) {
	for {
		if l.cursor().Segment >= d.seg.Number {
			return nil, r, nil, errCovered
		}
		// Read all three before the attempt: an acknowledgement during it counts, and a segment that becomes next during it
		// is tried again.
		changed, acked, next := l.s.sp.Shelf().Changed(), l.s.acked(), l.isNext(d)
		rec, r, whole, err = l.send(ctx, d)
		if next || !errors.Is(err, spool.ErrFull) {
			return rec, r, whole, err
		}
		if err := l.awaitTurn(ctx, d, changed, acked); err != nil {
			return nil, r, nil, err
		}
	}
}

// errCovered: another owner's manifest covers the segment of a delivery. The spool may have deleted it since.
var errCovered = errors.New("ship: another owner has delivered the segment")

// isNext reports whether a delivery is the next one for the destination.
func (l *lane) isNext(d *delivery) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.window) > 0 && l.window[0] == d
}

// awaitTurn returns at the first acknowledgement after which everything before a delivery is staged. changed is the channel
// of the spool's next change, and acked what was acknowledged, both from before the attempt that found no room. No other
// change counts: an attempt itself changes the spool when it gives up other files in vain, so two deliveries could wake each
// other and encode their segments endlessly.
func (l *lane) awaitTurn(ctx context.Context, d *delivery, changed <-chan struct{}, acked uint64) error {
	l.noteWaits(d, true)
	defer l.noteWaits(d, false)
	for {
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
		changed = l.s.sp.Shelf().Changed()
		if l.s.acked() != acked && l.isTurn(d) {
			return nil
		}
	}
}

// acked returns a sum that changes whenever a destination acknowledges segments. It asks the spool, since the spool's change
// is what wakes awaitTurn.
func (s *Shipper) acked() (sum uint64) {
	for _, l := range s.all() {
		if c, err := s.sp.Shelf().Chain(l.name); err == nil {
			sum += c.Segment
		}
	}
	return sum
}

// noteWaits notes whether a delivery waits for room, and wakes the writer of the chain, which does not wait for such a
// delivery.
func (l *lane) noteWaits(d *delivery, waits bool) {
	l.mu.Lock()
	d.waits = waits
	l.mu.Unlock()
	l.s.changed.Broadcast()
}

// isTurn reports whether no delivery before d still needs room. So only one delivery of a lane is tried at each change: a
// failed attempt costs the encoding of a segment.
func (l *lane) isTurn(d *delivery) bool {
	for _, n := range l.undoneBefore(d) {
		if seg := l.s.sp.Shelf().Sealed(n-1, 1); len(seg) == 1 && seg[0].Number == n && !seg[0].Staged {
			return false
		}
	}
	return true
}

// undoneBefore lists the segments of the deliveries before d that are not done.
func (l *lane) undoneBefore(d *delivery) (numbers []uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, w := range l.window {
		if w.seg.Number >= d.seg.Number {
			break
		}
		if !w.done {
			numbers = append(numbers, w.seg.Number)
		}
	}
	return numbers
}
