package audit

import (
	"context"
	"fmt"
	"reflect"
	"slices"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// content identifies the records of a segment that a line describes. At each place of a group, every content has exactly one line with
// records: that of the whole segment, or that of its rest if another owner's object holds its first records. If that object holds all
// of them, the content has only empty lines, one from each owner that found them there. Segments in copies of a volume that begin alike
// and then differ have different hashes. Two owners' hashes of one segment may differ too: see isAlike and isInOthers.
type content struct {
	first, last uint64
	sum         string // of the segment's uncompressed output, "" if no record of it was readable
}

func contentOf(s *ship.SegmentLine) content {
	if w := s.Whole; w != nil {
		return content{w.First, s.Last, w.RawSHA256}
	}
	return content{s.First, s.Last, s.RawSHA256}
}

// wholeGaps returns the damaged records of the segment that a line is about.
func wholeGaps(s *ship.SegmentLine) []segment.Range {
	if s.Whole != nil {
		return s.Whole.Gaps
	}
	return s.Gaps
}

// piece is what one chain says about the segment that is being compared.
type piece struct {
	c *cursor
	content
	// repeats: another chain of the place, whose piece comes first, states the same object, or the same losses.
	repeatsObject, repeatsLoss bool
	doubled                    bool // an earlier piece of the place has the same records in another object
}

func (x *piece) line() *ship.SegmentLine { return x.c.step.line }
func (x *piece) loss() *ship.LossLine    { return x.c.step.loss }

func (x *piece) same(o *piece) bool { return o.line() != nil && x.content == o.content }

// mate names a chain and another place.
type mate struct {
	c  *cursor
	at int
}

// lack is a row of consecutive segments that a chain of another place has and one place lacks.
type lack struct {
	from *cursor
	at   int
	owedRange
	segments seqRange // their numbers
	key      string   // of the manifest that states the first of them
	hour     int32    // of the first object
}

// collect collects what each chain of the group states about segment low.
func (g *group) collect(low uint64) {
	g.pieces, g.read = g.pieces[:0], 0
	for _, s := range g.sides {
		for _, c := range s.all {
			if c.more && c.step.segment == low {
				x := piece{c: c}
				if c.step.line != nil {
					x.content = contentOf(c.step.line)
				}
				g.noteRepeat(&x)
				g.pieces = append(g.pieces, x)
				s.steps++
			}
		}
	}
}

// match looks at all other places for what each chain of the group states about a segment.
func (g *group) match(ctx context.Context) {
	clear(g.pairs)
	for i := range g.pieces {
		x := &g.pieces[i]
		if x.line() != nil {
			g.reportDoubled(ctx, i)
		}
		for at := range g.here {
			if g.here[at] && at != x.c.at {
				g.lookFor(ctx, i, at)
			}
		}
	}
	g.findBeginnings(ctx) // it needs the pairs
}

// lookFor looks for one piece at another place. A piece that several places have counts as missing once.
func (g *group) lookFor(ctx context.Context, i, at int) {
	x := &g.pieces[i]
	var line *ship.SegmentLine
	var loss *ship.LossLine
	if x.line() != nil {
		line = g.lookForLine(ctx, i, at)
	}
	if x.loss() != nil && g.lacksLoss(i, at) {
		loss = x.loss()
	}
	m := mate{x.c, at}
	if line == nil && loss == nil || g.isNotOwed(x, at) {
		delete(g.current, m)
		return
	}
	g.noteLack(m, &step{segment: x.c.step.segment, line: line, loss: loss, at: x.c.step.at})
}

// lookForLine returns the line of a piece if it is missing at a place.
func (g *group) lookForLine(ctx context.Context, i, at int) *ship.SegmentLine {
	x := &g.pieces[i]
	first := !slices.ContainsFunc(g.pieces[:i], func(y piece) bool { return x.same(&y) })
	for j := range g.pieces {
		if y := &g.pieces[j]; y.c.at == at && x.same(y) {
			oweDamaged(y, x)
		}
	}
	for j := range g.pieces {
		y := &g.pieces[j]
		if y.c.at != at || !x.same(y) {
			continue
		}
		g.mates[mate{x.c, at}], g.mates[mate{y.c, x.c.at}] = y.c, x.c
		if what := lineDiffers(x.line(), y.line()); what != "" && first {
			g.noteDifference(x, y, what)
		}
		return nil
	}
	if !first || x.doubled {
		return nil
	}
	for j := range g.pieces {
		y := &g.pieces[j]
		if y.c.at != at || y.line() == nil || y.first != x.first || y.last != x.last || y.sum == x.sum {
			continue
		}
		here, there := mate{x.c, at}, mate{y.c, x.c.at}
		if c := g.pairs[there]; c != nil && c != x.c {
			continue // y is already paired with another piece
		}
		if g.hasBeside(x, y) {
			continue
		}
		if g.pairs[there] != nil || g.isAlike(ctx, x, y) {
			if what := othersDiffers(x.line(), y.line()); what != "" && g.pairs[there] == nil {
				g.noteDifference(x, y, what)
			}
			g.pairs[here], g.pairs[there] = y.c, x.c
			return nil
		}
	}
	if g.isInOthers(ctx, x, at) {
		return nil
	}
	return x.line()
}

// lineDiffers names what two lines about one content state differently, "" if nothing. Each owner of a copy stages its
// segments itself, and the spool stages a rest once per place, so the stored bytes may differ.
func lineDiffers(x, y *ship.SegmentLine) string {
	switch {
	case !reflect.DeepEqual(wholeGaps(x), wholeGaps(y)):
		return "they state different gaps"
	case x.First != y.First: // one has the whole, or more of it
		return hourDiffers(x, y)
	case x.Records != y.Records || x.Bytes != y.Bytes || !x.MinTime.Equal(y.MinTime) || !x.MaxTime.Equal(y.MaxTime) ||
		x.Format != y.Format || x.RawBytes != y.RawBytes || x.RawSHA256 != y.RawSHA256 || x.Key != y.Key && !object.SameRecords(x.Key, y.Key):
		return "they state different records, names or hashes"
	}
	return ""
}

// othersDiffers is lineDiffers for two lines with different hashes about one segment.
func othersDiffers(x, y *ship.SegmentLine) string {
	if x.First != y.First || !reflect.DeepEqual(x.Gaps, y.Gaps) {
		return hourDiffers(x, y)
	}
	if x.Records != y.Records || x.Bytes != y.Bytes || !x.MinTime.Equal(y.MinTime) || !x.MaxTime.Equal(y.MaxTime) || !object.SameRecords(x.Key, y.Key) {
		return "they state different records or names"
	}
	return ""
}

// hourDiffers names the difference if the objects of two lines about one segment are in the folders of different hours: both are that in
// which the segment begins. Whoever reads the complete hour at one place would miss the records.
func hourDiffers(x, y *ship.SegmentLine) string {
	a, okA := object.ParseKey(x.Key)
	b, okB := object.ParseKey(y.Key)
	if okA && okB && a.Hour != b.Hour {
		return "the hours of their objects differ"
	}
	return ""
}

func (g *group) noteDifference(x, y *piece, what string) {
	from, to := x.c.step.bounds()
	d := difference{a: x.c, b: y.c, atA: x.c.step.at, atB: y.c.step.at, first: from, last: to, what: what}
	d.from, d.to = hoursOf(&x.c.step, &y.c.step)
	g.diffs = g.a.withDifference(g.diffs, d)
}

// lacksLoss reports whether a place lacks the losses of a piece, and no earlier piece has shown that. Two copies may state equal
// losses, so the place must have as many equal ones.
func (g *group) lacksLoss(i, at int) bool {
	x := &g.pieces[i]
	if x.repeatsLoss {
		return false
	}
	nth, there := 0, 0
	before := map[int]int{} // equal ones at other places, by place
	for j := range g.pieces {
		y := &g.pieces[j]
		if y.loss() == nil || !reflect.DeepEqual(x.loss(), y.loss()) {
			continue
		}
		switch {
		case y.c.at == at:
			there++
		case y.repeatsLoss:
		case y.c.at == x.c.at && j < i:
			nth++
		case y.c.at != x.c.at && j < i:
			before[y.c.at]++
		}
	}
	for _, n := range before {
		if n > nth {
			return false
		}
	}
	return there <= nth
}

// isNotOwed reports whether a place need not have a piece because its chain skips the segment, for a reason that has been reported, or
// because the place is not owed it. Its chain is the one of the same id, or the one in which the records of the piece's chain were
// found last. If the chain of another related id begins later, that proves nothing about earlier segments: they are in the chain that
// its owner left.
func (g *group) isNotOwed(x *piece, at int) bool {
	skips := func(c *cursor) bool {
		if c.at != at || !c.skips(&x.c.step) {
			return false
		}
		// The damage is to this chain, perhaps of another owner, and may concern other hours than the piece.
		if c.skipped().hole {
			c.owe(x.c.hours())
		}
		return true
	}
	if c := g.mates[mate{x.c, at}]; c != nil && skips(c) {
		return true
	}
	for c := range g.cursors() {
		if c.id == x.c.id && skips(c) {
			return true
		}
	}
	return false
}

func (g *group) noteLack(m mate, s *step) {
	l := g.current[m]
	if l == nil && len(g.lacks) >= g.a.o.MaxFindings {
		// The list is full: extend an entry of the same chain and place.
		if i := slices.IndexFunc(g.lacks, func(l *lack) bool { return l.from == m.c && l.at == m.at }); i >= 0 {
			l = g.lacks[i]
		}
	}
	if l == nil {
		l = &lack{from: m.c, at: m.at, segments: seqRange{first: s.segment}, key: m.c.manifestKey(s.at), hour: object.HourOf(s.at.time)}
		if h := s.hour(); h != 0 {
			l.hour = h
		}
		g.lacks = append(g.lacks, l)
	}
	g.current[m] = l
	l.segments.last = s.segment
	if h := s.hour(); h != 0 {
		l.hour = min(l.hour, h)
	}
	l.add(s, m.c.p.name)
}

// noteRepeat notes what a piece repeats of an earlier one at the same place, and counts it once. A spool that gets another name for a
// place begins a related chain there. It states again each segment that is still on its disk because another destination lacks it. Its
// lines name the objects that the chain of the former name has named.
func (g *group) noteRepeat(x *piece) {
	for i := range g.pieces {
		y := &g.pieces[i]
		if y.c.at != x.c.at {
			continue
		}
		same := x.line() != nil && y.line() != nil && isOneObject(x.line(), y.line())
		if same && !x.repeatsObject {
			x.repeatsObject = true
			if x.c.step.tallied && y.c.step.tallied {
				x.c.uncount(x.line())
			}
		}
		// Without an object, only the sender's other name for the place distinguishes its losses from equal ones of a copy.
		objects := x.hasObject() || y.hasObject()
		if x.loss() != nil && y.loss() != nil && reflect.DeepEqual(x.loss(), y.loss()) && (same || !objects && x.c.Destination != y.c.Destination) {
			x.repeatsLoss = true
		}
	}
}

func (x *piece) hasObject() bool { return x.line() != nil && x.line().Records > 0 }

// isOneObject reports whether two lines of one place state the same object, and the same about it. If one of them was staged again, only its
// receipt describes the bytes that are there.
func isOneObject(x, y *ship.SegmentLine) bool {
	return x.Records > 0 && x.Key == y.Key && contentOf(x) == contentOf(y) && lineDiffers(x, y) == "" && (!staged(x) || !staged(y) || sameBytes(x, y))
}

// reportDoubled reports a piece if an earlier piece at the same place has the same content and a record in common, in another object:
// that record is there twice. If their hashes differ, their records are compared, unless one of the formats shows only payloads: those of two
// owners may be equal.
func (g *group) reportDoubled(ctx context.Context, i int) {
	x := &g.pieces[i]
	for j := range g.pieces[:i] {
		y := &g.pieces[j]
		if y.c.at != x.c.at || y.line() == nil || !overlap(x.line(), y.line()) || isOneObject(x.line(), y.line()) {
			continue
		}
		x.doubled = x.same(y)
		plain := isPlain(x.c.p.o.Extra, x.line()) || isPlain(y.c.p.o.Extra, y.line())
		if !x.doubled && x.first == y.first && x.last == y.last && !plain {
			x.doubled, _ = g.hasSameRecords(ctx, x, y)
		}
		if !x.doubled {
			continue
		}
		if len(g.doubled) < g.a.o.MaxFindings {
			g.doubled = append(g.doubled, Finding{
				Code: RecordsDoubled, Place: x.c.p.name, Class: x.c.id.Class, Spool: x.c.id.Spool, Epoch: x.c.step.at.epoch,
				First: x.first, Last: x.last, Key: x.c.manifestKey(x.c.step.at), Other: y.c.p.name + ": " + y.c.manifestKey(y.c.step.at),
				Detail: fmt.Sprintf("segment %d is stated by the chains of two related spools", x.c.step.segment),
			})
		}
		return
	}
}

// overlap reports whether the objects of two lines may have a record in common.
func overlap(a, b *ship.SegmentLine) bool {
	return a.Records > 0 && b.Records > 0 && max(a.First, b.First) <= min(a.Last, b.Last)
}

// reportLack reports what a place lacks of a group, as Behind. What Replay has restored is no longer owed once an operator has closed
// the chain that has it, or one of the place's own.
func (a *auditor) reportLack(ctx context.Context, l *lack) error {
	p := a.places[l.at]
	if !a.o.Hour.IsZero() && l.hour > object.HourOf(a.o.Hour) {
		return nil
	}
	if l.from.shut || slices.ContainsFunc(l.from.group.at(p), func(w *walk) bool { return w.shut }) {
		left, err := a.checkRestored(ctx, l)
		if err != nil {
			return err
		}
		a.rec.atLeast(chainID{p.name, l.from.id}, Closed, span{class: l.from.id.Class, from: l.hour})
		if l.owedRange = left; left.from == "" {
			return nil
		}
	}
	f := Finding{
		Code: Behind, Place: p.name, Class: l.from.id.Class, Spool: l.from.id.Spool, Epoch: l.from.Epoch, First: l.first, Last: l.last,
		Since: l.since, Other: l.from.p.name + ": " + l.key,
		Detail: fmt.Sprintf("%s has %d records, %d bytes and %d loss lines that are in no chain of a related spool here", l.owedRange.from, l.records, l.bytes, l.losses),
	}
	a.rec.add(f.inHours(l.hour, 0))
	return nil
}
