package ship

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// IncompleteError says what is still pending, and why. It wraps ErrIncomplete and the last error of each destination named.
type IncompleteError struct {
	Pending []Pending // by name of destination
}

// Pending is what one destination does not have yet.
type Pending struct {
	Destination string
	Segments    int // sealed ones that its chain does not cover
	segment.Tally
	State State
	// Err is the destination's last failure, nil if there was none: then the delivery is merely not finished yet.
	Err error
}

// Error names each destination, what is pending for it, and why.
func (e *IncompleteError) Error() string {
	var b strings.Builder
	b.WriteString(ErrIncomplete.Error())
	for _, o := range e.Pending {
		fmt.Fprintf(&b, "; %s: %d segments, %d records, %d bytes (%s", o.Destination, o.Segments, o.Records, o.Bytes, o.State)
		if o.Err != nil {
			fmt.Fprintf(&b, ", last error: %v", o.Err)
		}
		b.WriteByte(')')
	}
	return b.String()
}

// Unwrap returns ErrIncomplete and the destinations' last errors.
func (e *IncompleteError) Unwrap() []error {
	errs := []error{ErrIncomplete}
	for _, o := range e.Pending {
		if o.Err != nil {
			errs = append(errs, o.Err)
		}
	}
	return errs
}

// errEnded: the Shipper delivers nothing more, so there is nothing to wait for.
var errEnded = errors.New("ship: Run has ended")

// Flush retries every destination at once, and returns nil when all of them have everything that was sealed at the call. When
// ctx ends, it returns an *IncompleteError. It gives up earlier only if Run has ended, or if all pending destinations are
// fenced (see Claim): any other trouble may end at any time. Run must be running.
func (s *Shipper) Flush(ctx context.Context) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	var target spool.Segment
	if all := s.sp.Shelf().Sealed(0, 0); len(all) > 0 {
		target = all[len(all)-1]
	}
	s.ResetBackoff()
	defer s.hurry()()
	for {
		wake := s.changed.Next() // before looking, so that no change falls in between
		var pending []*lane
		over := true
		for _, l := range s.all() {
			// Segment and Through are kept separately, so one alone proves nothing.
			if c := l.cursor(); c.Segment < target.Number || c.Through < target.Last {
				pending = append(pending, l)
				over = over && l.isFenced()
			}
		}
		if len(pending) == 0 {
			return nil
		}
		var why error
		select {
		case <-s.ended:
			why = errEnded
		case <-ctx.Done():
			why = ctx.Err()
		default:
		}
		if why != nil || over {
			return errors.Join(s.incomplete(pending...), why)
		}
		select {
		case <-wake:
		case <-s.ended:
		case <-ctx.Done():
		}
	}
}

// Finalize writes the final manifest of a destination: the statement that it holds every record ever kept, and every loss
// count. It waits until that is true. Records must not be appended any more, and the spool must be sealed (Seal): if records
// are not sealed, Finalize returns an *IncompleteError at once. The next Open of the spool starts the next epoch. Run must be
// running. Calling it again returns nil.
//
// After an error the final manifest may still arrive if it was already being sent. Open the spool again before you append more.
func (s *Shipper) Finalize(ctx context.Context, dest string) error {
	l, err := s.lane(dest)
	if err := errors.Join(err, checkContext(ctx)); err != nil {
		return err
	}
	if err := s.finalize(ctx, l); err != nil {
		l.wantFinal(false) // make no new attempt; a manifest that is being sent may still arrive
		return err
	}
	return nil
}

func (s *Shipper) finalize(ctx context.Context, l *lane) error {
	l.wantFinal(true)
	defer s.hurry()()
	for {
		wake := s.changed.Next()
		c := l.cursor()
		switch {
		case c.Final && s.isCovered(c):
			return nil
		case c.Final && l.isClosed():
			// A final manifest cannot be withdrawn, and no manifest may follow it in this epoch.
			return errors.Join(s.incomplete(l), fmt.Errorf("ship: records were kept after the final manifest of %s: open the spool again", l.name))
		case l.isFenced():
			return s.incomplete(l)
		case s.unsealed(l, c):
			return errors.Join(s.incomplete(l), errors.New("ship: the spool has records that are not sealed: call Seal first"))
		}
		select {
		case <-wake:
		case <-s.ended:
			return errors.Join(s.incomplete(l), errEnded)
		case <-ctx.Done():
			return errors.Join(s.incomplete(l), ctx.Err())
		}
	}
}

// unsealed reports whether records after a chain's cursor are in no sealed segment. If the chain has advanced since the
// cursor was read, it returns false: those records may have been delivered and deleted since. A change then wakes the caller.
func (s *Shipper) unsealed(l *lane, c spool.Chain) bool {
	if len(s.sp.Shelf().Sealed(c.Segment, 1)) > 0 || s.isCovered(c) {
		return false
	}
	now, err := s.sp.Shelf().Chain(l.name)
	return err != nil || now.Segment == c.Segment && now.Through == c.Through
}

func (l *lane) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// wantFinal asks the chain writer for a final manifest.
func (l *lane) wantFinal(final bool) {
	l.mu.Lock()
	l.final = final
	l.mu.Unlock()
	l.s.changed.Broadcast()
}

// incomplete returns an IncompleteError with what is pending for these destinations.
func (s *Shipper) incomplete(lanes ...*lane) error {
	e := &IncompleteError{}
	stats := s.Stats()
	for _, l := range lanes {
		d := stats[l.name]
		e.Pending = append(e.Pending, Pending{Destination: l.name, Segments: d.PendingSegments, Tally: d.Pending, State: d.State, Err: d.Err})
	}
	return e
}
