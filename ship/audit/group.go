package audit

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/penstock-go/penstock/spool/object"
)

// group is a volume and its copies: the spools whose ids are related (see object.Related). Nearly always it is one spool.
//
// Copies of a volume share an id until they deliver. At each destination, the one whose manifest is created first keeps the
// id there; the others go on under related ids with the records that are not in its chain. One place may therefore have the
// records of a copy under one id, and another place under another. So the chains of a group are compared with each other
// (see match.go), while each chain by itself is judged as that of any spool.
type group struct {
	a     *auditor
	sides []*side
	here  []bool // by index of the place: whether it has a chain of the group

	pieces  []piece          // of the segment that is being compared
	pairs   map[mate]*cursor // chains whose pieces are the same segment with different hashes
	read    int              // how often objects were compared for this segment: see hasEach
	diffs   []difference
	doubled []Finding
	bare    []bareRest
	grown   map[*place]*growth // the answers of grownAt
	copies  map[*place]copiesHere
	lacks   []*lack
	current map[mate]*lack   // the lack that the next segment may extend
	mates   map[mate]*cursor // the chain of another place that a chain's records were found in last
	divided bool             // see isDivided
	ahead   int              // how many manifests of each chain are read ahead
}

// side is the chains of one spool at all places.
type side struct {
	id      object.Origin
	all     []*cursor
	steps   int
	diffs   []difference
	doubts  []restaged
	excused map[excused]bool
	denials []denial
}

// denial is a final manifest that another place contradicts.
type denial struct {
	by    *cursor
	key   string // of the final manifest
	first uint64
	hour  int32
	other string
}

// groups cuts the sorted spools into groups of related ones.
func (a *auditor) groups() iter.Seq[[]object.Origin] {
	return func(yield func([]object.Origin) bool) {
		for i := 0; i < len(a.spools); {
			n := i + 1
			for n < len(a.spools) && a.spools[n].Related(a.spools[i]) {
				n++
			}
			if !yield(a.spools[i:n]) {
				return
			}
			i = n
		}
	}
}

// judgeGroup judges the chains of a group at all places, side by side. It aligns them by segment number, because manifests and
// epochs are divided differently at each place: each place gets segments at its own pace.
func (a *auditor) judgeGroup(ctx context.Context, ids []object.Origin) {
	g := &group{a: a, here: make([]bool, len(a.places)), pairs: map[mate]*cursor{}, grown: map[*place]*growth{}, copies: map[*place]copiesHere{}, current: map[mate]*lack{}, mates: map[mate]*cursor{}}
	defer func() {
		for c := range g.cursors() {
			c.stop()
		}
	}()
	for _, id := range ids {
		if err := g.open(ctx, id); err != nil {
			a.check(err)
			return
		}
	}
	g.advanceAll()
	for ctx.Err() == nil {
		low := uint64(0)
		for c := range g.cursors() {
			if c.more && (low == 0 || c.step.segment < low) {
				low = c.step.segment
			}
		}
		if low == 0 {
			break
		}
		for _, s := range g.sides {
			if a.compare(s, low); len(s.doubts) >= maxRestaged {
				g.settle(ctx, s)
			}
		}
		if len(g.sides) > 1 {
			g.collect(low)
			g.match(ctx)
		} else if g.sides[0].statesRest(low) {
			// The chain that has the beginning may be gone with its id.
			g.collect(low)
			g.findBeginnings(ctx)
		}
		for c := range g.cursors() {
			if c.more && c.step.segment == low {
				c.advance()
			}
		}
	}
	for _, s := range g.sides {
		g.settle(ctx, s)
	}
	if ctx.Err() != nil {
		return
	}
	for _, id := range ids { // also ids without any chain: a head may be all that is left
		var all []*cursor
		if i := slices.IndexFunc(g.sides, func(s *side) bool { return s.id == id }); i >= 0 {
			all = g.sides[i].all
		}
		a.checkHeads(ctx, id, all)
	}
	for c := range g.cursors() {
		a.check(c.judgeClosings(ctx))
	}
	for c := range g.cursors() {
		c.blameBrokenPairs()
	}
	g.report(ctx)
}

// open begins to read a spool's chains.
func (g *group) open(ctx context.Context, id object.Origin) error {
	a, s := g.a, &side{id: id}
	defer func() {
		if len(s.all) > 0 {
			g.sides = append(g.sides, s)
		}
	}()
	for i, p := range a.places {
		l := p.chains[id]
		if l == nil || !l.begun() {
			if l != nil {
				a.check(a.reportClosedNothing(ctx, p, id, l))
			}
			continue
		}
		w := &walk{a: a, p: p, id: id, wanted: a.wanted(id), named: map[string]bool{}, called: map[uint32]string{}}
		w.Place, w.Class, w.Spool = p.name, id.Class, id.Spool
		a.noteAppeared(id.Spool)
		p.mu.Lock()
		p.walks[id] = w
		p.mu.Unlock()
		if err := errors.Join(w.readClosings(ctx, l), w.resume(ctx)); err != nil {
			return err
		}
		c := &cursor{walk: w, at: i}
		c.next, c.stop = iter.Pull(w.steps(ctx, l, func() int { return g.ahead }))
		s.all = append(s.all, c)
		g.here[i] = true
	}
	return nil
}

// advanceAll brings each chain to its first segment. The more chains there are, the fewer manifests of each are read ahead.
func (g *group) advanceAll() {
	n := 0
	for range g.cursors() {
		n++
	}
	g.ahead = max(1, min(readAhead, 4*readAhead/max(1, n)))
	for c := range g.cursors() {
		c.advance()
	}
}

func (g *group) cursors() iter.Seq[*cursor] {
	return func(yield func(*cursor) bool) {
		for _, s := range g.sides {
			for _, c := range s.all {
				if !yield(c) {
					return
				}
			}
		}
	}
}

// statesRest reports whether a chain states the rest of segment low.
func (s *side) statesRest(low uint64) bool {
	return slices.ContainsFunc(s.all, func(c *cursor) bool {
		return c.more && c.step.segment == low && c.step.line != nil && c.step.line.Whole != nil
	})
}

// isDivided reports whether the records really are divided between several ids. A chain that states no segment does not count:
// anyone could have put it there, so that the others are judged less strictly. If chains must be signed it counts, because an
// unsigned one is damage by itself. One of which nothing can be read is not.
func (g *group) isDivided() bool {
	n := 0
	for _, s := range g.sides {
		if s.steps > 0 || len(g.a.o.Keys) > 0 && slices.ContainsFunc(s.all, func(c *cursor) bool { return c.Manifests > 0 }) {
			n++
		}
	}
	return n > 1
}

// report reports what was found. If places contradict each other within one id, and no other id explains that, it is damage. In a
// divided group the chains must differ; there it only matters at which places each segment was found.
func (g *group) report(ctx context.Context) {
	if len(g.sides) > 1 {
		g.a.mu.Lock()
		g.a.kin[g.sides[0].id.Lineage()] = g
		g.a.mu.Unlock()
	}
	for _, b := range g.bare {
		if err := g.reportBare(ctx, b); err != nil {
			g.a.check(err)
			return
		}
	}
	if g.divided = g.isDivided(); !g.divided {
		for _, s := range g.sides {
			for _, d := range s.denials {
				d.report()
			}
			for _, d := range s.diffs {
				d.report()
			}
			for x := range s.excused {
				x.c.owe(x.span)
			}
		}
		return
	}
	for _, d := range g.diffs {
		d.report()
	}
	for _, f := range g.doubled {
		g.a.rec.add(f)
	}
	for c := range g.cursors() {
		c.behind, c.group = owedRange{}, g
		if c.NotOwed >= c.birth && c.birth > 0 && g.begunBefore(c) {
			c.NotOwed -= c.birth // the earlier records are in another chain
		}
	}
	g.a.mu.Lock()
	g.a.lacks = append(g.a.lacks, g.lacks...)
	g.a.mu.Unlock()
}

// states reports whether any chain of a spool states a segment.
func (g *group) states(id object.Origin) bool {
	return slices.ContainsFunc(g.sides, func(s *side) bool { return s.id == id && s.steps > 0 })
}

// begunBefore reports whether the place has a chain of the group with earlier records.
func (g *group) begunBefore(c *cursor) bool {
	for o := range g.cursors() {
		if o.at == c.at && o != c && o.First < c.First {
			return true
		}
	}
	return false
}

// at returns the group's chains at a place.
func (g *group) at(p *place) (all []*walk) {
	for c := range g.cursors() {
		if c.p == p {
			all = append(all, c.walk)
		}
	}
	return all
}
