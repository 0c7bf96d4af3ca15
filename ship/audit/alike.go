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
	"github.com/penstock-go/penstock/spool/segment"
)

// isAlike reports whether two pieces with different hashes are the same segment. One place may have got it before some records were
// damaged; the gaps of the other are reported as RecordsDamaged. Or the owners of two copies may have encoded it in different formats,
// or in Native, which contains more than the records: then only a comparison of the records can tell.
func (g *group) isAlike(ctx context.Context, x, y *piece) bool {
	return g.reportsDamage(x, y) || g.reportsDamage(y, x) || g.areOld(x, y) || g.hasSameRecords(ctx, x, y)
}

// areOld reports whether two lines agree in everything but the encoding, and neither object is looked for: a retention rule may have deleted
// them.
func (g *group) areOld(x, y *piece) bool {
	return mayHaveSameRecords(g.a.o.Extra, x, y) && g.isOld(x) && g.isOld(y) && x.line().MaxTime.Equal(y.line().MaxTime) && othersDiffers(x.line(), y.line()) == ""
}

func (g *group) isOld(x *piece) bool { return x.line().MaxTime.Before(g.a.o.Since) }

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

// hasSameRecords reads the objects of two pieces if only their records can tell whether they are the same segment.
func (g *group) hasSameRecords(ctx context.Context, x, y *piece) bool {
	a, b := stored{x.c.p, x.line()}, stored{y.c.p, y.line()}
	if !mayHaveSameRecords(g.a.o.Extra, x, y) {
		return false
	}
	if a.line.First < b.line.First {
		a, b = b, a // a is the one that may be a rest
	}
	_, lineA := hashLine(a.line)
	_, lineB := hashLine(b.line)
	what := fmt.Sprintf("alike %s %x %s %s %x", a.line.Key, lineA, b.p.name, b.line.Key, lineB) // a rewritten line makes it another question
	return g.hasEach(ctx, what, a, []stored{b})
}

// isProven reports whether two pieces with different hashes were found to be one segment.
func (g *group) isProven(x, y *piece) bool { return g.pairs[mate{x.c, y.c.at}] == y.c }

// hasBeside reports whether the place of x has what y states beside x, in another object. So y states other records than x, even if payloads
// are all that can be compared, and those are equal.
func (g *group) hasBeside(x, y *piece) bool {
	return slices.ContainsFunc(g.pieces, func(z piece) bool { return z.c.at == x.c.at && y.same(&z) && overlap(x.line(), z.line()) })
}

// isInOthers reports whether a place has the records of a piece in other lines, and a line without an object about a segment with the same
// ends: its owner found that segment's records there, so it states only where the segment ends. The owner's hash of it proves nothing if it
// uses another format than the piece's owner, or Native. If the piece has an object, each record of it must be found in the others. If it has
// none either, there is nothing to look for: its records are in other lines of its own place, and each of these is looked for by itself.
func (g *group) isInOthers(ctx context.Context, x *piece, at int) bool {
	var end *piece
	var others []stored
	for i := range g.pieces {
		y := &g.pieces[i]
		if y.c.at != at || y.line() == nil {
			continue
		}
		if y.first == x.first && y.last == x.last && !(x.hasObject() && y.hasObject()) && hasSameGaps(x, y) {
			end = y
		}
		if overlap(x.line(), y.line()) && len(others) < maxAbout && !g.hasBeside(x, y) {
			others = append(others, stored{y.c.p, y.line()})
		}
	}
	if end == nil || !x.hasObject() || g.isOld(x) {
		return end != nil
	}
	_, line := hashLine(x.line())
	what := fmt.Sprintf("in others %s %x %s", x.line().Key, line, end.c.p.name)
	for _, o := range others {
		_, line := hashLine(o.line)
		what += fmt.Sprintf(" %s %x", o.line.Key, line)
	}
	return g.hasEach(ctx, what, stored{x.c.p, x.line()}, others)
}

// hasEach reports whether an object has all records of its line, and each of them is in one of the others. what names the question for the
// memory. Whoever can write at a place can add any number of lines about a segment, and each could make the auditor read a large object of
// another place again. Nobody has that many copies of a volume, so what remains counts as not found.
func (g *group) hasEach(ctx context.Context, what string, a stored, others []stored) bool {
	if g.read++; g.read > maxAbout {
		return false
	}
	all, err := a.p.kept.once(what, func() (bool, error) {
		lost, all, err := a.unfound(ctx, a.line.First, a.line.Last, others, true)
		return all && lost.last == 0, err
	})
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, ship.ErrVerify) || errors.Is(err, errNotUnderstood) {
		return false // the object is judged separately
	}
	if errors.Is(err, errUnread) {
		g.a.reportUnreadObject(err)
		return false
	}
	g.a.check(err)
	return err == nil && all
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
