package audit

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// groupAt returns the group of several ids that an object belongs to, nil if there is none, or the place has no chain of it.
func (a *auditor) groupAt(p *place, id object.Origin) *group {
	if g := a.kin[id.Lineage()]; g != nil && len(g.at(p)) > 0 {
		return g
	}
	return nil
}

// judgeUnnamedOfGroup judges an object of a group that no chain of its place names. Any owner of a copy may have uploaded it, and may
// still name it in the chain of the id under which it delivers.
func (a *auditor) judgeUnnamedOfGroup(ctx context.Context, g *group, p *place, k *object.Key, size int64, f Finding) error {
	f.Code, f.Detail = Uncovered, "no readable manifest covers it; see the damage to its chain"
	open := (*walk)(nil)
	for _, w := range g.at(p) {
		if w.isUnprovenIn(k.First, k.Last) { // a line there may explain a part of it
			return a.setAside(p, unvouched{key: *k, size: size, Finding: f})
		}
		if !w.Final && w.Last < k.First && (open == nil || open.Closed != nil) {
			open = w
		}
	}
	for _, w := range g.at(p) {
		if w.passedOver(k) && !a.isDenied(p, k) {
			f.Detail, f.Since = notOwed, w.Time
			return a.setAside(p, unvouched{key: *k, size: size, Finding: f, notOwed: true})
		}
	}
	if open != nil {
		f.Detail, f.Since = "ahead of its chain's end", open.Time
		open.noteBeyondEnd(&f)
		return a.setAside(p, unvouched{key: *k, size: size, Finding: f, group: g})
	}
	for _, l := range g.lacks {
		if a.places[l.at] == p && l.first <= k.First && l.last >= k.Last {
			f.Detail, f.Since = "its records are owed here", l.since
			return a.setAside(p, unvouched{key: *k, size: size, Finding: f})
		}
	}
	begun, err := p.hasRelatedBegun(ctx, k.Origin)
	if err != nil {
		return err
	}
	if begun {
		f.Detail = "a chain of a related spool began during this audit"
		return a.setAside(p, unvouched{key: *k, size: size, Finding: f})
	}
	f.Code, f.Detail = ObjectUnknown, "no chain of its spool or of a related one names it"
	return a.setAside(p, unvouched{key: *k, size: size, Finding: f, group: g})
}

// setAside reports a finding about an object or, in a deep audit or if the object's content may explain it, keeps it until the object
// has been read.
func (a *auditor) setAside(p *place, u unvouched) error {
	if (a.o.Deep || u.group != nil || u.notOwed) && len(p.later) < a.o.MaxFindings {
		p.later = append(p.later, u)
		return nil
	}
	a.rec.add(u.Finding)
	return nil
}

// hasRelatedBegun is askRelatedBegun for the listing, which asks for many objects: it remembers the answer.
func (p *place) hasRelatedBegun(ctx context.Context, id object.Origin) (begun bool, err error) {
	at := epochID{Origin: id.Lineage()}
	if begun, ok := p.epochs[at]; ok {
		return begun, nil
	}
	begun, err = p.askRelatedBegun(ctx, id)
	p.epochs[at] = begun
	return begun, err
}

// askRelatedBegun reports whether a chain of a related spool, or a later epoch of one, has begun since the chains were listed.
func (p *place) askRelatedBegun(ctx context.Context, id object.Origin) (begun bool, err error) {
	for e, err := range p.list(ctx, id.LineagePrefix()) {
		if err != nil {
			return false, err
		}
		m, ok := object.ParseChainKey(e.Key)
		if ok && m.Head == "" && !p.chains[m.Origin].hasEpoch(m.Epoch) {
			return true, nil
		}
	}
	return false, nil
}

// explainSuperseded explains objects of a group that no chain names: one owner uploaded a segment, and then another owner, which has
// its first records too or all of them, continued the chain. Such an object is only a copy if each of its records is in objects that
// chains of the place name; its name alone proves nothing. explainSuperseded returns the objects that it cannot explain.
func (a *auditor) explainSuperseded(ctx context.Context, p *place) (rest []unvouched, err error) {
	objects := map[*group][]unvouched{}
	for _, u := range p.later {
		if u.group == nil {
			rest = append(rest, u)
		} else {
			objects[u.group] = append(objects[u.group], u)
		}
	}
	for g, all := range objects {
		for list := range slices.Chunk(all, maxAsked) {
			left, err := a.explainSupersededOfGroup(ctx, g, p, list)
			if err != nil {
				return nil, err
			}
			rest = append(rest, left...)
		}
	}
	return rest, nil
}

func (a *auditor) explainSupersededOfGroup(ctx context.Context, g *group, p *place, list []unvouched) (rest []unvouched, err error) {
	lines, err := g.linesAbout(ctx, p, list)
	if err != nil {
		return nil, err
	}
	for i := range list {
		u := &list[i]
		same, err := p.kept.once(u.Key, func() (bool, error) { return p.hasRecords(ctx, u, lines[i].others) })
		if err != nil {
			return nil, err
		}
		if !same {
			rest = append(rest, *u)
			continue
		}
		u.Code, u.Other = ObjectSuperseded, p.name+": "+lines[i].key
		u.Detail = "it was uploaded before another owner continued the chain; each of its records is in another object that a chain here names"
		a.rec.add(u.Finding)
	}
	return rest, nil
}

// maxAsked bounds the objects for which the chains are read at once, and maxAbout the lines that each is compared with. All of them
// are kept in memory.
const maxAsked, maxAbout = 256, 64

// about is the lines that name records of an object's range, and the key of the first one's manifest.
type about struct {
	others []stored
	key    string
}

// linesAbout reads the group's chains at the place again, because their lines are not kept in memory.
func (g *group) linesAbout(ctx context.Context, p *place, list []unvouched) ([]about, error) {
	all := make([]about, len(list))
	for _, w := range g.at(p) {
		for m, err := range p.readable(ctx, w.id) {
			if errors.Is(err, errUnread) {
				continue // it explains nothing
			}
			if err != nil {
				return nil, err
			}
			for i := range m.Segments {
				s := &m.Segments[i]
				for j := range list {
					u, x := &list[j], &all[j]
					if s.Records == 0 || s.Last < u.key.First || s.First > u.key.Last || s.Key == u.Key || len(x.others) == maxAbout {
						continue
					}
					line := *s // a copy, so that the manifest can be freed
					if x.others = append(x.others, stored{p, &line}); x.key == "" {
						x.key = object.ManifestKey(w.id.Class, w.id.Spool, m.Header.Epoch, m.Header.Number)
					}
				}
			}
		}
	}
	return all, nil
}

// hasRecords reports whether each record of an object that can be read from beginning to end is in one of the others.
func (p *place) hasRecords(ctx context.Context, u *unvouched, others []stored) (bool, error) {
	f, codec, err := encodingByKey(p.o.Extra, &u.key)
	if err != nil || len(others) == 0 {
		return false, nil // its content is unknown
	}
	var content error
	var there ship.Object
	err = p.requestOf(ctx, u.Key, func(ctx context.Context) (err error) {
		there, content, err = p.examine(ctx, u.Key, u.size, func(r io.Reader) error { return p.survey(ctx, r, &u.key, nil) })
		return err
	})
	span := u.key.Last - u.key.First + 1
	line := ship.SegmentLine{
		Key: u.Key, First: u.key.First, Last: u.key.Last, Records: span, Bytes: min(span, segment.MaxSize) * segment.MaxRecord, Format: f.Name, Codec: codec.Info().Name,
		Receipt: &ship.Receipt{Size: u.size},
	}
	line.RawBytes = f.MaxRaw(line.Records, line.Bytes)
	var lost seqRange
	all := false
	if err == nil && content == nil && there.Size <= u.size {
		lost, all, err = stored{p, &line}.unfound(ctx, line.First, line.Last, others, true)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, ship.ErrVerify), errors.Is(err, errNotUnderstood), errors.Is(err, errUnread):
		return false, nil // it was moved away meanwhile or cannot be read, or one of the others is not what it should be
	}
	return err == nil && all && lost.last == 0, err
}
