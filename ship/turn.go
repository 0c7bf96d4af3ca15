package ship

import (
	"context"
	"errors"

	"github.com/penstock-go/penstock/spool"
)

// A full spool always has room for the staged file of the segment that is next for a destination. Any other segment may find
// none. That is no failure of the destination, and time does not cure it: the segment waits for its turn, and the spool's next
// change after that wakes it. If it slept like an operation that has failed, each segment of a full spool would sleep until it
// is next, one after the other, and a drain would spend its time on nothing else.

// sendInTurn is send. If the spool has no room for a segment that is not next, it waits for the segment's turn and sends it
// then. The wait is certain to end: the segments before it are delivered, until it is next itself.
func (l *lane) sendInTurn(ctx context.Context, d *delivery) (rec *spool.StageRecord, r Receipt, whole *Whole, err error) {
	for {
		if l.cursor().Segment >= d.seg.Number {
			return nil, r, nil, errCovered
		}
		// All before the attempt: an acknowledgement during it counts, and a segment that was next only afterwards is tried again.
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

// awaitTurn returns at the first acknowledgement that finds everything in front of a delivery staged. changed is the channel of
// the spool's next change, and acked what was acknowledged, both from before the attempt that found no room. No other change
// counts: an attempt changes the spool itself when it gives up other files in vain, and two deliveries that woke each other in
// this way would encode their segments without end, and do nothing else.
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

// acked changes whenever a destination acknowledges segments. The spool's own word counts, since its change is what wakes.
func (s *Shipper) acked() (sum uint64) {
	for _, l := range s.all() {
		if c, err := s.sp.Shelf().Chain(l.name); err == nil {
			sum += c.Segment
		}
	}
	return sum
}

// noteWaits notes whether a delivery waits for room, and tells the writer of the chain, which need not wait for it.
func (l *lane) noteWaits(d *delivery, waits bool) {
	l.mu.Lock()
	d.waits = waits
	l.mu.Unlock()
	l.s.changed.Broadcast()
}

// isTurn reports whether nothing in front of a delivery still needs room. Only one delivery of a lane is tried at a change: an
// attempt that fails costs the encoding of a segment.
func (l *lane) isTurn(d *delivery) bool {
	for _, n := range l.undoneBefore(d) {
		if seg := l.s.sp.Shelf().Sealed(n-1, 1); len(seg) == 1 && seg[0].Number == n && !seg[0].Staged {
			return false
		}
	}
	return true
}

// undoneBefore lists the segments in front of a delivery that are not done.
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
