package audit

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// bareRest is a line of the rest of a segment whose beginning is in no other chain of its place.
type bareRest struct {
	c  *cursor
	at *link
	seqRange
}

// findBeginnings looks for the beginning of each rest of a segment.
func (g *group) findBeginnings(ctx context.Context) {
	for i := range g.pieces {
		if x := &g.pieces[i]; x.line() != nil {
			g.findBeginning(ctx, x)
		}
	}
}

// findBeginning looks in other chains of the place for the records before a rest. If another place has more of the segment,
// a deep audit compares the records, also those of the rest; otherwise a line could state as delivered records that are nowhere.
func (g *group) findBeginning(ctx context.Context, x *piece) {
	s := x.line()
	if s.Whole == nil {
		return
	}
	next := s.Whole.First
	for found := true; found && next < s.First; {
		found = false
		for _, o := range g.linesBeside(x) {
			if o.First <= next && o.Last >= next {
				next, found = o.Last+1, true
			}
		}
	}
	if next < s.First {
		// Even if damage or growth of another chain explains it: that chain may be a forger's, with any hours.
		x.c.owe(x.c.hours())
		damaged := slices.ContainsFunc(g.at(x.c.p), func(w *walk) bool { return w.isUnproven(next) })
		if !damaged && len(g.bare) < g.a.o.MaxFindings {
			g.bare = append(g.bare, bareRest{x.c, x.c.step.at, seqRange{next, s.First - 1}})
		}
	}
	if g.a.o.Deep && next >= s.First {
		g.a.check(g.compareRest(ctx, x))
	}
}

// linesBeside returns the other lines about a piece's segment number at its place.
func (g *group) linesBeside(x *piece) (lines []*ship.SegmentLine) {
	for i := range g.pieces {
		if y := &g.pieces[i]; y.c.at == x.c.at && y.c != x.c && y.line() != nil {
			lines = append(lines, y.line())
		}
	}
	return lines
}

// growth is what has grown at a place during this audit.
type growth struct {
	chains []*walk // of a group: two are enough to know that one is not the chain that asks
	begun  bool    // a related chain, or a later epoch of one
}

// grownAt asks whether a chain of the group has grown at a place during this audit. It asks once, however many rests have no beginning
// there: each of them was read before, and so its beginning was named before.
func (g *group) grownAt(ctx context.Context, p *place, id object.Origin) (*growth, error) {
	if known := g.grown[p]; known != nil {
		return known, nil
	}
	now := new(growth)
	for _, w := range g.at(p) {
		if w.prev == nil || w.Final || len(now.chains) == 2 {
			continue
		}
		there, err := p.exists(ctx, object.ManifestKey(w.id.Class, w.id.Spool, w.prev.epoch, w.prev.number+1))
		if err != nil {
			return nil, err
		}
		if there {
			now.chains = append(now.chains, w)
		}
	}
	var err error
	if now.begun, err = p.askRelatedBegun(ctx, id); err != nil {
		return nil, err
	}
	g.grown[p] = now
	return now, nil
}

// reportBare reports a rest without its beginning, unless a chain that may have the beginning has grown during this audit.
func (g *group) reportBare(ctx context.Context, b bareRest) error {
	grown, err := g.grownAt(ctx, b.c.p, b.c.id)
	// Its own chain cannot have the beginning: no chain goes back.
	if err != nil || grown.begun || slices.ContainsFunc(grown.chains, func(w *walk) bool { return w != b.c.walk }) {
		return err
	}
	b.c.holes = append(b.c.holes, b.seqRange)
	b.c.report(SequenceBroken, b.at.epoch, b.first, b.last, b.c.manifestKey(b.at), "",
		"it states the rest of a segment whose beginning is in another chain of this place, and no chain here has that")
	return nil
}

// compareRest looks for the records of the segment, as another place has them, in the objects of a rest's place: for those before the
// rest in the others, for those of the rest in its own. Its line states the hash of the complete segment, which nothing here has.
func (g *group) compareRest(ctx context.Context, x *piece) error {
	var most *piece // the piece that has most of the segment, in whatever format
	for i := range g.pieces {
		if y := &g.pieces[i]; (x.same(y) || g.isPaired(x, y)) && y.hasObject() && y.line().First < x.line().First && (most == nil || y.line().First < most.line().First) {
			most = y
		}
	}
	if most == nil {
		return nil // no place has more of the segment to compare with
	}
	in := stored{most.c.p, most.line()}
	if g.read++; g.read > maxAbout {
		x.c.owe(x.c.hours()) // see hasEach
		return nil
	}
	last := x.line().First - 1
	var others []stored
	if x.hasObject() {
		last = x.line().Last
		others = append(others, stored{x.c.p, x.line()})
	}
	for _, o := range g.linesBeside(x) {
		if o.Records > 0 && o.Last >= in.line.First && o.First <= last {
			others = append(others, stored{x.c.p, o})
		}
	}
	if len(others) > maxAbout {
		x.c.owe(x.c.hours())
		return nil
	}
	lost, _, err := in.unfound(ctx, in.line.First, last, others, false)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ship.ErrVerify) || errors.Is(err, errNotUnderstood) {
		return nil // the object is judged separately
	}
	if errors.Is(err, errUnread) {
		g.a.reportUnreadObject(err)
		return nil
	}
	key, other := x.c.manifestKey(x.c.step.at), most.c.p.name+": "+in.line.Key
	switch {
	case err != nil || lost.last == 0:
		return err
	case lost.first >= x.line().First:
		x.c.report(PlacesDiffer, x.c.step.at.epoch, lost.first, lost.last, key, other, "it states the rest of a segment, and no object here has these records of it as the other place has them")
	default:
		x.c.report(SequenceBroken, x.c.step.at.epoch, lost.first, min(lost.last, x.line().First-1), key, other,
			"it states the rest of a segment, and no other object here has these records of its beginning")
	}
	return nil
}
