package audit

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// cursor is a walk that is read step by step, so that the chains of several places can be read side by side: none of them
// is ever held in memory as a whole.
type cursor struct {
	*walk
	at   int // index of the place
	next func() (step, bool)
	stop func()
	step step
	more bool    // step is valid; otherwise the chain has ended
	tail skipped // skipped at its end
}

func (c *cursor) advance() {
	s, ok := c.next()
	if !ok || s.segment == 0 {
		c.more, c.tail = false, s.skip
		return
	}
	c.step, c.more = s, true
}

// owedRange is what one place lacks after its chain's end.
type owedRange struct {
	seqRange
	records, bytes, losses uint64
	hour                   int32 // the earliest of its objects, 0 if it has none
	since                  time.Time
	from                   string // the place that has it
	told                   bool   // known from a head only: the place that has it is not audited
}

// difference is a segment about which two places state different things. Which of them is right is decided once their
// chains have been read.
type difference struct {
	a, b        *cursor
	atA, atB    *link
	first, last uint64
	from, to    int32 // hours of the objects that they name, 0 if neither does
	what        string
}

// compare compares what the chains of one spool state about segment low.
func (a *auditor) compare(s *side, low uint64) {
	var one *cursor
	for _, c := range s.all {
		if c.more && c.step.segment == low {
			one = c
			break
		}
	}
	if one == nil {
		return
	}
	note := func(c *cursor, at *link, what string) {
		first, last := one.step.bounds()
		d := difference{a: one, b: c, atA: one.step.at, atB: at, first: first, last: last, what: what}
		d.from, d.to = hoursOf(&one.step, &c.step)
		if !s.doubt(&a.o, &d) {
			s.diffs = a.withDifference(s.diffs, d)
		}
	}
	for _, c := range s.all {
		switch {
		case c == one:
		case c.more && c.step.segment == low:
			if what := one.step.differs(&c.step); what != "" {
				note(c, c.step.at, what)
			} else if x, y := one.step.line, c.step.line; x != nil {
				// The damage is reported in the hour that the damaged line states, and a forger may state any.
				if damagedOnly(x, y) {
					s.excuse(one, c.hours())
				} else if damagedOnly(y, x) {
					s.excuse(c, one.hours())
				}
			}
		case c.skips(&one.step):
			// Not owed, or reported as damage already. Manifests around the damage may be forged, so it may concern other hours.
			if c.skipped().hole {
				s.excuse(c, one.hours())
			}
		case c.more || low <= c.segment:
			note(c, c.lastLink(), "one names the segment, and one does not")
		case c.Final && one.step.at.epoch <= c.Epoch:
			if !c.denied {
				c.denied = true
				first, _ := one.step.bounds()
				s.denials = append(s.denials, denial{c, c.manifestKey(c.prev), first, one.step.hour(), one.p.name + ": " + one.manifestKey(one.step.at)})
			}
		default:
			c.behind.add(&one.step, one.p.name)
		}
	}
}

func (d denial) report() {
	d.by.reportIn(d.hour, 0, FinalWrong, d.by.Epoch, d.first, 0, d.key, d.other,
		"its final manifest says that nothing is missing, but another place has record %d in the same epoch", d.first)
}

// lastLink is the last link that was read, nil if there is none.
func (c *cursor) lastLink() *link {
	if c.more {
		return c.step.at
	}
	return c.prev
}

// skipped is what the chain does not state before its current step, or at its end.
func (c *cursor) skipped() skipped {
	if c.more {
		return c.step.skip
	}
	return c.tail
}

// skips reports whether the chain does not state another chain's segment, for a reason that is known.
func (c *cursor) skips(s *step) bool { return c.skipped().covers(s) }

// hours are those in which the segment of the current step can have begun.
func (c *cursor) hours() span {
	if h := c.step.hour(); h != 0 {
		return span{c.id.Class, h, h}
	}
	return span{c.id.Class, c.reached, max(c.reached, object.HourOf(c.step.at.time))}
}

// excused is a chain that does not state segments of other places, and the hours of these, in which it is owed them all the same.
type excused struct {
	c *cursor
	span
}

func (s *side) excuse(c *cursor, hours span) {
	if s.excused == nil {
		s.excused = map[excused]bool{}
	}
	s.excused[excused{c, hours}] = true
}

// hour is that of the step's object, 0 if it has none.
func (s *step) hour() int32 {
	if s.line != nil {
		if k, ok := object.ParseKey(s.line.Key); ok {
			return k.Hour
		}
	}
	return 0
}

// hoursOf returns the hours of what two places state about one segment. y may be of another segment.
func hoursOf(x, y *step) (from, to int32) {
	from = x.hour()
	if to = from; y.segment == x.segment {
		if h := y.hour(); h != 0 {
			from, to = min(cmp.Or(from, h), h), max(to, h)
		}
	}
	return from, to
}

// bounds are the sequence numbers of a step: those of its records, or where its losses are accounted.
func (s *step) bounds() (first, last uint64) {
	switch {
	case s.line != nil && s.line.Last < s.line.First: // all of its records are in another owner's object
		return s.line.Whole.First, s.line.Last
	case s.line != nil:
		return s.line.First, s.line.Last
	}
	return s.loss.After, s.loss.After
}

// differs names what two places state differently about a segment, receipts apart; "" if nothing. Everything but receipts comes from
// the stage record and the ledger, which are fixed before anything is sent to the first destination. Only a segment that was staged
// again may have another stage record: see restaged.go.
func (s *step) differs(o *step) string {
	switch {
	case (s.line == nil) != (o.line == nil):
		return "one names records in it, and one does not"
	case (s.loss == nil) != (o.loss == nil):
		return "one states losses, and one does not"
	case s.loss != nil && !reflect.DeepEqual(s.loss, o.loss):
		return "they state different losses"
	case s.line == nil:
		return ""
	}
	x, y := *s.line, *o.line
	x.Receipt, y.Receipt = nil, nil
	if object.SameObject(x.Key, y.Key) {
		y.Key = x.Key
	}
	switch {
	case reflect.DeepEqual(x, y):
		return ""
	case x.First == y.First && x.Last == y.Last && (damagedOnly(&x, &y) || damagedOnly(&y, &x)):
		return "" // one got the records before they were damaged; the other one's gaps are reported as RecordsDamaged
	case !reflect.DeepEqual(x.Gaps, y.Gaps):
		return "they state different gaps"
	case x.First != y.First || x.Last != y.Last:
		return fmt.Sprintf("one states records %d to %d, one %d to %d", x.First, x.Last, y.First, y.Last)
	}
	return "they state different records, names or hashes"
}

// damagedOnly reports whether two lines differ only in that hurt names more records as damaged.
func damagedOnly(hurt, whole *ship.SegmentLine) bool {
	missing := func(s *ship.SegmentLine) (n uint64) {
		for _, g := range s.Gaps {
			n += g.Last - g.First + 1
		}
		return n
	}
	for _, g := range whole.Gaps {
		if !slices.ContainsFunc(hurt.Gaps, func(h segment.Range) bool { return h.First <= g.First && g.Last <= h.Last }) {
			return false
		}
	}
	span := hurt.Last + 1 - hurt.First
	return missing(hurt) > missing(whole) && hurt.Records+missing(hurt) == span && whole.Records+missing(whole) == span
}

// withDifference adds a difference to a list. If the list is full, its last one also stands for the hours of this one.
func (a *auditor) withDifference(list []difference, d difference) []difference {
	if len(list) < a.o.MaxFindings {
		return append(list, d)
	}
	last := &list[len(list)-1]
	if last.from == 0 || d.from == 0 {
		last.from, last.to = 0, 0 // every hour
	} else {
		last.from, last.to = min(last.from, d.from), max(last.to, d.to)
	}
	return list
}

// report blames the place whose manifest nothing vouches for: to alter the other one, a forger must forge its successor or head too.
// If both or neither are vouched for, it says so instead of guessing.
func (d difference) report() {
	a, b := d.a, d.b
	keyA, keyB := a.keyOf(d.atA), b.keyOf(d.atB)
	detail := d.what + "; nothing vouches for its manifest, but something does for that of the other place"
	switch va, vb := d.atA.isVouched(), d.atB.isVouched(); {
	case va == vb:
		detail = d.what + "; the manifests do not show which of the two is right"
	case vb:
		a, b, keyA, keyB = b, a, keyB, keyA
	}
	b.reportIn(d.from, d.to, PlacesDiffer, b.Epoch, d.first, d.last, keyB, a.p.name+": "+keyA, "%s", detail)
}

func (l *link) isVouched() bool { return l != nil && l.vouched }

func (w *walk) keyOf(l *link) string {
	if l == nil {
		return ""
	}
	return w.manifestKey(l)
}

func (o *owedRange) add(s *step, place string) {
	first, last := s.bounds()
	if o.from == "" {
		o.first, o.since, o.from = first, s.at.time, place
	}
	o.last = max(o.last, last)
	if h := s.hour(); h != 0 && (o.hour == 0 || h < o.hour) {
		o.hour = h
	}
	if s.line != nil {
		o.records += s.line.Records
		o.bytes += s.line.Bytes
	}
	if s.loss != nil {
		o.losses++
	}
}

// reportOwed reports what a chain still lacks. Behind says more than Open, so only one of the two is reported. It concerns no hour
// that the chain has passed: a manifest of the sender states that no object will follow in that folder. A final chain has passed
// every hour, except those of later objects that another place has because the spool was opened again.
func (a *auditor) reportOwed(c *walk) {
	f := Finding{Place: c.p.name, Class: c.id.Class, Spool: c.id.Spool, Epoch: c.Epoch}.inHours(c.reached, 0)
	switch b := &c.behind; {
	case b.from != "":
		if b.hour != 0 && (c.Final || b.hour < c.reached) {
			f = f.inHours(b.hour, 0)
		}
		f.Code, f.First, f.Last, f.Since = Behind, b.first, b.last, b.since
		f.Detail = fmt.Sprintf("%s has %d records, %d bytes and %d loss lines that are not here", b.from, b.records, b.bytes, b.losses)
		a.rec.add(f)
	case c.Closed != nil:
		// No segment can begin in the spool after an operator has found it gone.
		a.rec.atLeast(chainID{c.p.name, c.id}, Closed, span{c.id.Class, c.reached, max(c.reached, object.HourOf(c.Closed.Time))})
	case !c.Final && c.Manifests > 0:
		f.Code, f.First, f.Since = Open, c.Last+1, c.Time
		f.Detail = "no final manifest: its host may have more"
		if c.closed != 0 {
			f.Detail = fmt.Sprintf("handed over to epoch %d, which has not begun here", c.closed)
		}
		if others := a.copiesAt(c); len(others) > 0 {
			f.Detail += "; the volume, or a copy of it, also delivers here as spool " + strings.Join(others, ", ")
			f.Cure = cureOfCopy
		}
		a.rec.add(f)
	}
}

// maxNamed is how many related spools a finding names.
const maxNamed = 5

// copiesHere is the related spools that have a chain at a place: how many, and the first of them.
type copiesHere struct {
	ids []string
	n   int
}

// copiesAt names the related spools that have a chain at the place of c. It names only some: there may be very many, and each of their
// chains that is open has a finding.
func (a *auditor) copiesAt(c *walk) (ids []string) {
	g := a.kin[c.id.Lineage()]
	if g == nil {
		return nil
	}
	here, ok := g.copies[c.p]
	if !ok {
		for _, w := range g.at(c.p) {
			if w.Manifests == 0 {
				continue
			}
			if here.n++; len(here.ids) <= maxNamed { // one more, since c itself is not named
				here.ids = append(here.ids, w.id.Spool)
			}
		}
		g.copies[c.p] = here
	}
	for _, id := range here.ids {
		if id != c.id.Spool && len(ids) < maxNamed {
			ids = append(ids, id)
		}
	}
	if more := here.n - 1 - len(ids); more > 0 {
		ids = append(ids, fmt.Sprintf("and %d more", more))
	}
	return ids
}

// reportAbsent reports the places that have no chain of a spool that another place has.
func (a *auditor) reportAbsent(id object.Origin) {
	var most *walk // the most that any place has
	for _, p := range a.places {
		if w := p.walks[id]; w != nil && w.Manifests > 0 && (most == nil || w.Last > most.Last) {
			most = w
		}
	}
	if h := a.told[id]; most == nil && h.Head != nil {
		f := Finding{Code: Absent, Place: h.p.name, Class: id.Class, Spool: id.Spool, Epoch: h.Epoch, First: min(1, h.Last), Last: h.Last, Key: h.key, Since: h.Time}
		f.Detail = fmt.Sprintf("a head names a chain of this spool at destination %s up to record %d, and there is none here", h.Destination, h.Last)
		a.rec.add(f)
	}
	for _, p := range a.places {
		if most == nil || p.walks[id] != nil {
			continue
		}
		if g := a.groupAt(p, id); g != nil && (g.divided || !g.states(id)) {
			continue // in a group, what the place lacks is reported separately: see reportLack
		}
		f := Finding{Code: Absent, Place: p.name, Class: id.Class, Spool: id.Spool, Since: most.Time}.inHours(most.began, 0)
		if most.Last > 0 {
			f.First, f.Last = most.First, most.Last
		}
		f.Detail = fmt.Sprintf("%s has a chain of this spool up to record %d, and there is none here", most.p.name, most.Last)
		a.rec.add(f)
	}
}
