package audit

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// compareListing compares what is listed at a place with what its chains name. Both are in the byte order of their keys, so that
// one pass over the two is enough, and the listing is never held in memory. An object that was already asked for by name is not
// judged again.
func (a *auditor) compareListing(ctx context.Context, p *place) error {
	prefix := object.DataPrefix
	if a.o.Class != "" {
		prefix = object.ClassPrefix(a.o.Class)
	}
	list := p.contents(ctx, prefix)
	if !a.o.Hour.IsZero() {
		list = a.listHour(ctx, p)
	}
	i := 0
	// next returns what all lines say about the next object.
	next := func() []expected {
		from := i
		for i++; i < len(p.expected) && a.compareExpected(p.expected[from], p.expected[i]) == 0; i++ {
			continue
		}
		return p.expected[from:i]
	}
	absent := func() error {
		all := next()
		a.judgeLines(p, all)
		if !slices.ContainsFunc(all, func(e expected) bool { return e.flags&(optional|asked) == 0 }) {
			return nil
		}
		a.o.Progress.Objects.Add(1)
		return a.reportMissing(ctx, p, &all[0])
	}
	key := ""
	for l, err := range list {
		if err != nil {
			return err
		}
		for ; i < len(p.expected); key = "" {
			if key == "" {
				k := a.key(&p.expected[i])
				key = k.String()
			}
			if key >= l.Key {
				break
			}
			if err := absent(); err != nil {
				return err
			}
		}
		if i >= len(p.expected) || key != l.Key {
			if err := a.judgeUnnamed(ctx, p, l); err != nil {
				return err
			}
			continue
		}
		all := next()
		a.judgeLines(p, all)
		a.judgeSize(p, all, l.Size)
		key = ""
	}
	for i < len(p.expected) {
		if err := absent(); err != nil {
			return err
		}
	}
	return nil
}

// judgeLines reports the lines that name one object if they contradict each other.
func (a *auditor) judgeLines(p *place, all []expected) {
	said := all[0].said
	for i := range all[1:] {
		next := all[i+1].said
		if said.contradicts(next) {
			f := a.about(p, &all[0])
			f.Code, f.Detail = LineWrong, "two lines of chains here name it, and state different content, records or bytes: one object cannot be both"
			a.rec.add(f)
			return
		}
		said = statement{cmp.Or(said.content, next.content), cmp.Or(said.bytes, next.bytes)}
	}
}

// judgeSize reports an object if its size is not that of each line that names it. It leaves out lines for which it was asked for by name.
func (a *auditor) judgeSize(p *place, all []expected, size int64) {
	unasked := func(e expected) bool { return e.flags&asked == 0 }
	if !slices.ContainsFunc(all, unasked) {
		return
	}
	a.o.Progress.Objects.Add(1)
	i := slices.IndexFunc(all, func(e expected) bool { return unasked(e) && e.size != size })
	if i < 0 {
		return
	}
	f := a.about(p, &all[i])
	f.Code, f.Detail = ObjectAltered, fmt.Sprintf("%d bytes are there; its receipt says %d", size, all[i].size)
	a.rec.add(f)
}

// about returns a finding about an object that a chain names.
func (a *auditor) about(p *place, e *expected) Finding {
	k := a.key(e)
	return Finding{Place: p.name, Class: k.Class, Spool: k.Spool, Epoch: k.Epoch, First: k.First, Last: k.Last, Key: k.String()}
}

// listHour lists one hour of every class that is known.
func (a *auditor) listHour(ctx context.Context, p *place) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		class := ""
		for _, id := range a.spools {
			if id.Class == class {
				continue
			}
			class = id.Class
			prefix := object.HourPrefix(class, object.HourOf(a.o.Hour))
			for e, err := range p.list(ctx, prefix) {
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// reportMissing reports an object that was not listed, unless it is there: it may have been stored while the listing was read.
func (a *auditor) reportMissing(ctx context.Context, p *place, e *expected) error {
	f := a.about(p, e)
	if !a.rec.full() {
		if there, err := p.exists(ctx, f.Key); err != nil || there {
			return err
		}
	}
	f.Code, f.Detail = ObjectMissing, "it is not there"
	a.rec.add(f)
	return nil
}

// judgeUnnamed judges, by its key, an object that its place's chain does not name; readUnnamed judges its content. The question
// is always whether its sender may still name it: a chain is begun before its first object is sent, and names objects in
// sequence order after they were sent.
func (a *auditor) judgeUnnamed(ctx context.Context, p *place, l ship.Entry) error {
	key := l.Key
	k, ok := object.ParseKey(key)
	f := Finding{Code: ObjectUnknown, Place: p.name, Class: k.Class, Spool: k.Spool, Epoch: k.Epoch, First: k.First, Last: k.Last, Key: key}
	g := a.groupAt(p, k.Origin)
	if ok && g != nil && g.divided {
		return a.judgeUnnamedOfGroup(ctx, g, p, &k, l.Size, f)
	}
	w := p.walks[k.Origin]
	switch {
	case !ok:
		f.Class, f.Spool, f.Epoch, f.First, f.Last = "", "", 0, 0, 0
		f.Detail = "not the key of an object of any spool"
	case w == nil || w.Final && k.Epoch > w.Epoch:
		// It is being delivered if its epoch has begun since the chains were listed.
		begun, err := p.hasBegun(ctx, &k)
		if err != nil {
			return err
		}
		f.Code, f.Detail = ChainMissing, "its spool has no chain here, although a chain is always begun before its objects are stored"
		if begun {
			f.Code, f.Detail = Uncovered, "its epoch began during this audit"
		} else if w != nil {
			f.Code, f.Detail = ObjectUnknown, "the chain is final, and the object's epoch has no chain here"
		}
	case w.isUnproven(k.First):
		f.Code, f.Detail = Uncovered, "no readable manifest covers it; see the damage to its chain"
		if a.isDenied(p, &k) {
			f.Code, f.Detail = ObjectUnknown, "no readable manifest names it, and no object at another place has exactly these records"
		}
	case w.passedOver(&k) && !a.isDenied(p, &k):
		f.Code, f.Detail, f.Since = Uncovered, notOwed, w.Time
		return a.setAside(p, unvouched{key: k, size: l.Size, Finding: f, notOwed: true})
	case k.First <= w.Last:
		f.Detail = fmt.Sprintf("the chain covers records up to %d and does not name it", w.Last)
	case w.Final:
		f.Detail = fmt.Sprintf("the chain is final with record %d", w.Last)
	case a.isDenied(p, &k):
		f.Detail = "it is ahead of its chain, and no object at another place has exactly these records"
	default:
		f.Code, f.Detail, f.Since = Uncovered, "ahead of its chain's end", w.Time
		w.noteBeyondEnd(&f)
	}
	if !ok {
		a.rec.add(f)
		return nil
	}
	if f.Code != ObjectUnknown {
		g = nil // only what would be damage needs to be explained
	}
	return a.setAside(p, unvouched{key: k, size: l.Size, Finding: f, group: g})
}

// notOwed is why no chain names an object that was uploaded ahead of a chain whose place was then given up, and taken back later.
const notOwed = "the place was given up after it was uploaded, and taken back later: its records are not owed here"

type epochID struct {
	object.Origin
	epoch uint32
}

// maxEpochs bounds what is remembered of epochs that may have begun, a hundred bytes each.
const maxEpochs = 1 << 16

// hasBegun reports whether there is now a manifest of an epoch that may name an object: the object's own epoch, or a later one
// of its spool. It lists each chain once, however many epochs the names of objects have, and then asks only for the first manifest of
// an epoch that was not there.
func (p *place) hasBegun(ctx context.Context, k *object.Key) (begun bool, err error) {
	// An earlier answer will do: if there was no chain then, an object that was there before belongs to none.
	latest, listed := p.latest[k.Origin]
	if !listed {
		if latest, err = p.lastEpoch(ctx, k.Origin); err != nil {
			return false, err
		}
		if len(p.latest) >= maxEpochs {
			clear(p.latest)
		}
		p.latest[k.Origin] = latest
	}
	id := epochID{k.Origin, k.Epoch}
	if begun, known := p.epochs[id]; known || latest >= k.Epoch {
		return begun || latest >= k.Epoch, nil
	}
	if listed { // earlier: the epoch may have begun since
		if begun, err = p.exists(ctx, object.ManifestKey(k.Class, k.Spool, k.Epoch, 0)); err != nil {
			return false, err
		}
	}
	if len(p.epochs) >= maxEpochs {
		clear(p.epochs)
	}
	p.epochs[id] = begun
	return begun, nil
}

// lastEpoch lists the chain of a spool, and returns its last epoch with a manifest, 0 if there is none.
func (p *place) lastEpoch(ctx context.Context, id object.Origin) (last uint32, err error) {
	for e, err := range p.list(ctx, id.ChainPrefix()) {
		if err != nil {
			return 0, err
		}
		if m, ok := object.ParseChainKey(e.Key); ok && m.Head == "" {
			last = max(last, m.Epoch)
		}
	}
	return last, nil
}

// isUnproven reports whether damage to the chain leaves a record unproven.
func (w *walk) isUnproven(seq uint64) bool { return w.isUnprovenIn(seq, seq) }

// isUnprovenIn reports whether damage to the chain leaves any of these records unproven.
func (w *walk) isUnprovenIn(first, last uint64) bool {
	return slices.ContainsFunc(w.holes, func(r seqRange) bool { return last >= r.first && first <= r.last })
}

// passedOver reports whether all records of an object are in a range that the chain jumps over because the place was given up.
func (w *walk) passedOver(k *object.Key) bool {
	return slices.ContainsFunc(w.passed, func(r seqRange) bool { return k.First >= r.first && k.Last <= r.last })
}

// jumpsInto reports whether the chain jumps over any record of an object in that way.
func (w *walk) jumpsInto(k *object.Key) bool {
	return slices.ContainsFunc(w.passed, func(r seqRange) bool { return k.First <= r.last && k.Last >= r.first })
}

// isDenied reports whether another place's chain covers the records of an object and names no object with exactly these records. This
// distinguishes an unknown object from one that is being delivered. A segment that was staged again may have another encoding here.
func (a *auditor) isDenied(p *place, k *object.Key) bool {
	for _, q := range a.places {
		w := q.walks[k.Origin]
		if q == p || w == nil || k.Last > w.Last || k.First < w.First || w.isUnproven(k.First) || w.jumpsInto(k) {
			continue
		}
		// The keys of objects with the same records differ in their ending only: in the encoding, or in a hash.
		least := *k
		least.Ext = ""
		i, _ := slices.BinarySearchFunc(q.expected, &least, func(e expected, k *object.Key) int {
			have := a.key(&e)
			return cmp.Or(strings.Compare(have.Class, k.Class), have.Compare(k))
		})
		if i < len(q.expected) {
			if have := a.key(&q.expected[i]); object.SameRecords(have.String(), k.String()) {
				return false
			}
		}
		return true
	}
	return false
}
