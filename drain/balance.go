package drain

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// maxLeft bounds the leftovers listed per class and destination; the counts are complete in any case.
const maxLeft = 1000

// delivered returns how much every destination has now.
func (r *run) delivered() map[string]map[string]deliveredBy {
	all := map[string]map[string]deliveredBy{}
	for _, c := range r.d.all() {
		all[c.name] = map[string]deliveredBy{}
		for dest, s := range c.Shipper.Stats() {
			all[c.name][dest] = deliveredBy{s.Delivered, s.SentBytes}
		}
	}
	return all
}

// balance fills in the counts of every class from its ledger, and lists the segments that each destination lacks.
func (r *run) balance(ctx context.Context) {
	r.d.mu.Lock()
	running, down, lost := r.d.classes, maps.Clone(r.d.down), maps.Clone(r.d.lost)
	r.d.mu.Unlock()
	classes, all := map[string]ClassReport{}, []Leftover(nil)
	for _, c := range running {
		type result struct {
			ClassReport
			left []Leftover
		}
		got := make(chan result, 1)
		err := r.bounded(ctx, 2*time.Second, func() error {
			cr, left := r.classBalance(c)
			got <- result{cr, left}
			return nil
		})
		if err == nil {
			res := <-got
			classes[c.name], all = res.ClassReport, append(all, res.left...)
		} else {
			classes[c.name] = ClassReport{Err: "its spool does not answer: " + err.Error()}
		}
	}
	for name, err := range down {
		cr := classes[name]
		cr.Err = cmp.Or(cr.Err, "not running: "+err.Error())
		classes[name] = cr
	}
	for name, l := range lost {
		cr := classes[name]
		l.report(&cr)
		classes[name] = cr
	}
	adoptions := r.d.adoptions()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.report.Classes, r.report.Left, r.report.Adoptions = classes, all, adoptions
}

func (r *run) classBalance(c *class) (ClassReport, []Leftover) {
	ss := c.Shipper.Stats()
	st, l := c.spool.Snapshot() // a consistent snapshot: records may still arrive
	cr := ClassReport{
		Spool: st.Spool, Epoch: st.Epoch,
		Received: l.Received, Made: l.Made, Kept: l.Kept, Filtered: l.Filtered, Lost: l.Lost, Buffered: st.Buffered,
		Damaged: l.Damaged, Unaccounted: l.Unaccounted,
		Damages:      c.spool.Shelf().Damages(),
		Destinations: map[string]DestinationReport{},
	}
	errs := []error{l.Balance()}
	if errors.Is(st.Err, spool.ErrClosed) {
		errs = append(errs, errors.New("its spool was closed by other code, before the Drainer could end it"))
	}
	if b := l.Buffered(); b.Records != st.Buffered.Records {
		errs = append(errs, fmt.Errorf("%d records were received or made and are neither kept nor filtered nor lost; %d are buffered", b.Records, st.Buffered.Records))
	}
	cr.LostMeanwhile, cr.inMemory = l.Lost.Sub(r.lost[c.name]), l.Buffered().Records
	cr.LostInEnd = forsaken(&cr.LostMeanwhile)
	elapsed := time.Since(r.began).Seconds()
	confirmed := r.confirmed(c.name)
	var left []Leftover
	for _, dest := range slices.Sorted(maps.Keys(ss)) {
		s, found, before := ss[dest], confirmed[dest], r.before[c.name][dest]
		s.Delivered = l.Destinations[dest].Tally
		dr := DestinationReport{
			Delivered: s.Delivered, Pending: st.Pending[dest], State: string(s.State), Verified: found.all, Restored: found.Restored,
			Drained: segment.Tally{Records: s.Delivered.Records - before.Records, Bytes: s.Delivered.Bytes - before.Bytes},
			Stored:  s.SentBytes - before.stored,
		}
		dr.BytesPerSecond = float64(dr.Drained.Bytes) / max(elapsed, 1e-3)
		switch {
		case s.Err != nil && s.State != ship.StateOK: // omits an error that is over
			dr.Err = s.Err.Error()
		case found.Err != nil:
			dr.Err = "not verified: " + found.Err.Error()
		}
		chain, err := c.spool.Shelf().Chain(dest)
		if err != nil {
			errs = append(errs, err)
		}
		// A destination that joined late is not owed records that were deleted by then. Records that were damaged after their
		// delivery count twice.
		if sum := s.Delivered.Records + dr.Pending.Records + l.Damaged.Records; chain.Joined <= 1 && sum < l.Kept.Records {
			errs = append(errs, fmt.Errorf("%d records were kept and are neither delivered to %s nor pending nor damaged", l.Kept.Records-sum, dest))
		}
		cr.Destinations[dest] = dr
		left = append(left, r.undelivered(c, dest, chain.Segment, dr)...)
		for _, m := range found.Mismatches {
			left = append(left, mismatched(c, dest, m))
		}
	}
	if err := errors.Join(errs...); err != nil {
		cr.Err = err.Error()
	}
	return cr, left
}

// undelivered lists the segments that a destination's chain does not cover.
func (r *run) undelivered(c *class, dest string, covered uint64, dr DestinationReport) []Leftover {
	var out []Leftover
	why, listed := cmp.Or(dr.Err, "not delivered yet"), segment.Tally{}
	sealed := c.spool.Shelf().Sealed(covered, maxLeft)
	for _, s := range sealed {
		if s.Records == 0 {
			continue
		}
		listed.Add(segment.Tally{Records: s.Records, Bytes: s.Bytes})
		out = append(out, Leftover{
			Class: c.name, Destination: dest, Segment: s.Number, First: s.First, Last: s.Last,
			Records: s.Records, Bytes: s.Bytes, Where: "spool", Why: why,
		})
	}
	if n := dr.Pending.Records; n > listed.Records && len(sealed) < maxLeft {
		last := c.spool.Stats().Written
		out = append(out, Leftover{
			Class: c.name, Destination: dest, First: last + 1 - min(last, n-listed.Records), Last: last,
			Records: n - listed.Records, Bytes: dr.Pending.Bytes - min(dr.Pending.Bytes, listed.Bytes),
			Where: "spool", Why: "not sealed: see the errors of the phases",
		})
	}
	return out
}

// mismatched describes an object that a destination does not hold as it was confirmed.
func mismatched(c *class, dest string, m ship.Mismatch) Leftover {
	out := Leftover{Class: c.name, Destination: dest, Segment: m.Segment, Where: m.Key, Why: m.Err.Error()}
	if m.Segment == 0 {
		return out // a manifest
	}
	if s := c.spool.Shelf().Sealed(m.Segment-1, 1); len(s) == 1 && s[0].Number == m.Segment {
		out.First, out.Last, out.Records, out.Bytes = s[0].First, s[0].Last, s[0].Records, s[0].Bytes
	}
	return out
}

// complete reports whether no destination is owed anything, everything was confirmed again, and no damage is left that
// the operator has not given up.
func (c *ClassReport) complete() bool { return c.confirmed() && !c.damaged() }

// damaged reports whether the spool holds the only copy of records that it cannot read.
func (c *ClassReport) damaged() bool {
	return slices.ContainsFunc(c.Damages, func(x spool.Damage) bool { return !x.GivenUp })
}

// confirmed reports whether no destination is owed anything, and everything was confirmed again.
func (c *ClassReport) confirmed() bool {
	for _, d := range c.Destinations {
		if !d.Verified {
			return false
		}
	}
	return !c.unfinished() && len(c.Destinations) > 0
}

func (c *ClassReport) unfinished() bool {
	for _, d := range c.Destinations {
		if d.Pending.Records > 0 {
			return true
		}
	}
	return c.Buffered.Records > 0 || c.Err != ""
}

// judge decides the outcome. A drain is complete only if everything is known to be right.
func (r *run) judge() {
	r.mu.Lock()
	defer r.mu.Unlock()
	// An adopted volume that is not delivered holds the only copy of its records. Without a class nothing is verified.
	owed, unverified, mismatch := len(r.report.Adoptions) > 0, len(r.report.Classes) == 0, false
	damaged, unkept := false, false
	for _, c := range r.report.Classes {
		unkept = unkept || c.unkept() != ""
		damaged = damaged || c.damaged()
		owed = owed || c.unfinished()
		unverified = unverified || !c.complete()
		for _, d := range c.Destinations {
			mismatch = mismatch || d.State == string(ship.StateConflict)
		}
	}
	last := map[string]string{} // errors; a phase that failed may have succeeded in its next run
	for _, p := range r.report.Phases[r.round0:] {
		last[p.Name] = p.Err
	}
	for _, err := range last {
		owed = owed || err != ""
	}
	if r.verdict != nil {
		for _, dests := range r.verdict.classes {
			for _, f := range dests {
				mismatch = mismatch || len(f.Mismatches) > 0
			}
		}
	}
	switch {
	case mismatch:
		r.report.Outcome = Mismatch
	case damaged, unkept, r.cause.intent == Drain && (owed || unverified):
		r.report.Outcome = Incomplete
	case owed:
		r.report.Outcome = Stopped
	default:
		r.report.Outcome = Delivered
	}
}

// forsaken returns how many records were lost because a listener was closed without waiting, or because the spool was
// full.
func forsaken(l *segment.Losses) uint64 {
	return l[segment.GivenUp].Records + l[segment.SpoolFull].Records
}

// losses returns what every class has lost until now.
func (r *run) losses() map[string]segment.Losses {
	n := map[string]segment.Losses{}
	for _, c := range r.d.all() {
		n[c.name] = c.spool.Ledger().Lost
	}
	return n
}

// unkept describes the records of a class that are on no disk at its end; "" if there are none.
func (c *ClassReport) unkept() string {
	switch {
	case c.LostInEnd > 0:
		return fmt.Sprintf("%d records were lost while it ended", c.LostInEnd)
	case c.inMemory > 0:
		return fmt.Sprintf("%d records are in memory only", c.inMemory)
	}
	return ""
}
