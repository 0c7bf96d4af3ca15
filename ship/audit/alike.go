package audit

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/format"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// isAlike reports whether two pieces with different hashes are the same segment. One place may have got it before some records were
// damaged; the gaps of the other are reported as RecordsDamaged. Or the owners of two copies may have encoded it in different formats,
// or in Native, which contains more than the records: then only a comparison of the records can tell.
func (g *group) isAlike(ctx context.Context, x, y *piece) bool {
	if g.reportsDamage(x, y) || g.reportsDamage(y, x) {
		return true
	}
	same, gone := g.hasSameRecords(ctx, x, y)
	if x.line().First < y.line().First {
		x, y = y, x // x is the one that may be a rest
	}
	return same || gone && g.isKnownByLines(x, []stored{{y.c.p, y.line()}})
}

// mayHaveSameRecords reports whether the objects of two pieces with different hashes may have the same records.
func mayHaveSameRecords(extra format.Extra, x, y *piece) bool {
	return x.hasObject() && y.hasObject() && hasSameGaps(x, y) &&
		(x.line().Format != y.line().Format || !isCanonical(extra, x.line()) || !reflect.DeepEqual(wholeGaps(x.line()), wholeGaps(y.line())))
}

// reportsDamage reports whether y is the same segment as x with more records damaged, and that is reported as RecordsDamaged. Gaps of a
// complete segment are not: a rest may state any, and its object may have any records.
func (g *group) reportsDamage(y, x *piece) bool { return hurt(y, x) && oweDamaged(y, x) }

// oweDamaged reports whether the line y names records as damaged that x, about the same segment, does not. A forger may state any hour for
// them, so that of x is owed.
func oweDamaged(y, x *piece) bool {
	news := func(r segment.Range) bool {
		return !slices.ContainsFunc(wholeGaps(x.line()), func(w segment.Range) bool { return w.First <= r.First && r.Last <= w.Last })
	}
	if !slices.ContainsFunc(y.line().Gaps, news) {
		return false
	}
	y.c.owe(x.c.hours())
	return true
}

// hasSameGaps reports whether two pieces may be one segment by their damaged records.
func hasSameGaps(x, y *piece) bool {
	return reflect.DeepEqual(wholeGaps(x.line()), wholeGaps(y.line())) || hurt(x, y) || hurt(y, x)
}

// hasSameRecords reads the objects of two pieces if only their records can tell whether they are the same segment. gone reports that an
// object is not there.
func (g *group) hasSameRecords(ctx context.Context, x, y *piece) (same, gone bool) {
	a, b := stored{x.c.p, x.line()}, stored{y.c.p, y.line()}
	if !mayHaveSameRecords(g.a.o.Extra, x, y) {
		return false, false
	}
	if a.line.First < b.line.First {
		a, b = b, a // a is the one that may be a rest
	}
	_, lineA := hashLine(a.line)
	_, lineB := hashLine(b.line)
	what := fmt.Sprintf("alike %s %x %s %s %x", a.line.Key, lineA, b.p.name, b.line.Key, lineB) // a rewritten line makes it another question
	return g.hasEach(ctx, what, a, []stored{b})
}

// isPaired reports whether two pieces with different hashes were found to be one segment.
func (g *group) isPaired(x, y *piece) bool { return g.pairs[mate{x.c, y.c.at}] == y.c }

// hasBeside reports whether the place of x has what y states beside x, in another object. So y states other records than x, even if
// payloads are all that can be compared, and those are equal.
func (g *group) hasBeside(x, y *piece) bool {
	return slices.ContainsFunc(g.pieces, func(z piece) bool { return z.c.at == x.c.at && y.same(&z) && overlap(x.line(), z.line()) })
}

// isInOthers reports whether a place has the records of a piece in other lines, and a line without an object about a segment with the same
// ends: its owner found that segment's records there, so it states only where the segment ends. The owner's hash of it proves nothing if it
// uses another format than the piece's owner, or Native. If the piece has an object, each record of it must be found in the others. If it
// has none either, there is nothing to look for: its records are in other lines of its own place, and each of these is looked for by
// itself.
func (g *group) isInOthers(ctx context.Context, x *piece, at int) bool {
	var ends []*piece
	var others []stored
	for i := range g.pieces {
		y := &g.pieces[i]
		if y.c.at != at || y.line() == nil {
			continue
		}
		if y.first == x.first && y.last == x.last && !(x.hasObject() && y.hasObject()) && hasSameGaps(x, y) {
			ends = append(ends, y)
		}
		if overlap(x.line(), y.line()) && len(others) < maxAbout && !g.hasBeside(x, y) {
			others = append(others, stored{y.c.p, y.line()})
		}
	}
	if len(ends) == 0 || !x.hasObject() {
		return len(ends) > 0
	}
	_, line := hashLine(x.line())
	what := fmt.Sprintf("in others %s %x %s", x.line().Key, line, ends[0].c.p.name)
	for _, o := range others {
		_, line := hashLine(o.line)
		what += fmt.Sprintf(" %s %x", o.line.Key, line)
	}
	found, gone := g.hasEach(ctx, what, stored{x.c.p, x.line()}, others)
	return found || gone && slices.ContainsFunc(ends, func(end *piece) bool {
		here, there := mate{x.c, at}, mate{end.c, x.c.at}
		if c := g.pairs[there]; c != nil && c != x.c || g.hasBeside(x, end) || !g.isKnownByLines(x, others) {
			return false // the line is about another segment, or nothing shows that it is about this one
		}
		g.pairs[here], g.pairs[there] = end.c, x.c
		return true
	})
}

// hasEach reports whether an object has all records of its line, and each of them is in one of the others. what names the question for the
// memory. gone reports that it cannot tell because one of the objects is not there. The memory does not keep that answer, since the object
// may come back. Whoever can write at a place can add any number of lines about a segment, and each could make the auditor read a large
// object of another place again. Nobody has that many copies of a volume, so what remains counts as not found, and not as gone.
func (g *group) hasEach(ctx context.Context, what string, a stored, others []stored) (found, gone bool) {
	if g.read++; g.read > maxAbout {
		return false, false
	}
	found, err := a.p.kept.once(what, func() (bool, error) {
		lost, all, err := a.unfound(ctx, a.line.First, a.line.Last, others, true)
		return all && lost.last == 0, err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ship.ErrVerify) || errors.Is(err, errNotUnderstood) {
		return false, errors.Is(err, fs.ErrNotExist) // the object is judged separately
	}
	if errors.Is(err, errUnread) {
		g.a.reportUnreadObject(err)
		return false, false
	}
	g.a.check(err)
	return err == nil && found, false
}

// isKnownByLines reports whether the lines show that the records of a piece are in the others, at another place. An object is gone, so
// nobody can compare the records. Retention may have deleted it only if its line is older than Options.Since. Every other line must be that
// old too: somebody with write access to one place can write any time there, and a record that the lines of another place show to be newer
// would go unnoticed. The caller has asked hasBeside: a place that has both segments shows that they are two.
func (g *group) isKnownByLines(x *piece, others []stored) bool {
	isNew := func(s *ship.SegmentLine) bool { return !s.MaxTime.Before(g.a.o.Since) }
	return !isNew(x.line()) && canContain(others, x.line()) && !slices.ContainsFunc(others, func(o stored) bool { return isNew(o.line) })
}

// canContain reports whether objects may contain all records of a line, as far as their lines tell. Records of different owners of copies
// have different times, so one of the objects must begin or end with the line's records, at the same time.
func canContain(others []stored, s *ship.SegmentLine) bool {
	next, agrees := s.First, false
	for found := true; found && next <= s.Last; {
		found = false
		for _, o := range others {
			if o.line.First <= next && o.line.Last >= next {
				next, found = o.line.Last+1, true
			}
		}
	}
	for _, o := range others {
		agrees = agrees || sharesEnd(o.line, s)
	}
	return agrees && next > s.Last
}

// sharesEnd reports whether the object of o may have the first or the last record of s.
func sharesEnd(o, s *ship.SegmentLine) bool {
	first, last := o.First == s.First, o.Last == s.Last
	switch {
	case first && last:
		return s.Bytes == o.Bytes && s.MinTime.Equal(o.MinTime) && s.MaxTime.Equal(o.MaxTime) && object.SameRecords(s.Key, o.Key)
	case o.First <= s.First && s.Last <= o.Last && (s.Bytes > o.Bytes || s.MinTime.Before(o.MinTime) || s.MaxTime.After(o.MaxTime)):
		return false
	}
	return first && s.MinTime.Equal(o.MinTime) || last && s.MaxTime.Equal(o.MaxTime)
}

// hurt reports whether y is the same segment as x, with more records damaged.
func hurt(y, x *piece) bool {
	n := x.last + 1 - x.first
	flat := func(s *ship.SegmentLine) *ship.SegmentLine {
		f := &ship.SegmentLine{First: x.first, Last: x.last, Gaps: wholeGaps(s), Records: n}
		for _, g := range f.Gaps {
			f.Records -= g.Last - g.First + 1
		}
		return f
	}
	return damagedOnly(flat(y.line()), flat(x.line()))
}
