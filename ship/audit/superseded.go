package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"github.com/penstock-go/penstock/ship"
)

// lineage is what related ids have in common, as a spoolID.
func (s spoolID) lineage() spoolID {
	return spoolID{s.class, ship.Lineage(s.spool)}
}

// groupAt returns the group of several ids that an object belongs to, nil if there is none, or the place has no chain of it.
func (a *auditor) groupAt(p *place, id spoolID) *group {
	if g := a.kin[id.lineage()]; g != nil && len(g.at(p)) > 0 {
		return g
	}
	return nil
}

// unnamedOf judges an object of a group that no chain of its place names. Any owner of a copy may have uploaded it, and be
// about to name it, under whatever related id it delivers.
func (a *auditor) unnamedOf(ctx context.Context, g *group, p *place, k *dataKey, size int64, f Finding) error {
	f.Code, f.Detail = Uncovered, "no manifest that can be read covers it, see the damage to its chain"
	open := (*walk)(nil)
	for _, w := range g.at(p) {
		if w.unproven(k.first) {
			return a.aside(p, unvouched{*k, size, f, nil})
		}
		if !w.Final && w.Last < k.first && (open == nil || open.Closed != nil) {
			open = w
		}
	}
	if open != nil {
		f.Detail, f.Since = "ahead of its chain's end", open.Time
		open.beyond(&f)
		return a.aside(p, unvouched{*k, size, f, nil})
	}
	for _, l := range g.lacks {
		if a.places[l.at] == p && l.first <= k.first && l.last >= k.last {
			f.Detail, f.Since = "its records are owed here", l.since
			return a.aside(p, unvouched{*k, size, f, nil})
		}
	}
	begun, err := p.begunOf(ctx, k.spoolID)
	if err != nil {
		return err
	}
	if begun {
		f.Detail = "a chain of a related spool began during this audit"
		return a.aside(p, unvouched{*k, size, f, nil})
	}
	f.Code, f.Detail = ObjectUnknown, "no chain of its spool or of a related one names it"
	return a.aside(p, unvouched{*k, size, f, g})
}

// aside reports a finding about an object, or keeps it until the object has been read: in a deep audit, or since its content
// may explain it.
func (a *auditor) aside(p *place, u unvouched) error {
	if (a.o.Deep || u.group != nil) && len(p.later) < a.o.MaxFindings {
		p.later = append(p.later, u)
		return nil
	}
	a.rec.add(u.Finding)
	return nil
}

// begunOf is relatedBegun for the listing, which asks for many objects. The answer of a moment ago will do.
func (p *place) begunOf(ctx context.Context, id spoolID) (begun bool, err error) {
	at := epochID{spoolID: id.lineage()}
	if begun, ok := p.epochs[at]; ok {
		return begun, nil
	}
	begun, err = p.relatedBegun(ctx, id)
	p.epochs[at] = begun
	return begun, err
}

// relatedBegun reports whether a chain of a related spool, or a later epoch of one, has begun since the chains were listed.
func (p *place) relatedBegun(ctx context.Context, id spoolID) (begun bool, err error) {
	for e, err := range p.list(ctx, fmt.Sprintf("%s%s/%s", ship.ManifestPrefix, id.class, id.lineage().spool)) {
		if err != nil {
			return false, err
		}
		m, ok := parseChainKey(e.Key)
		if ok && m.head == "" && !p.chains[m.spoolID].hasEpoch(m.epoch) {
			return true, nil
		}
	}
	return false, nil
}

// superseded looks for what explains the objects of a group that no chain names: one owner has uploaded a segment, and then
// the chain was continued by another one that has its first records too, or all of them. Each of these records is in an object that
// a chain of the place names. Such an object is nothing but a copy of them. It is one only if its content is that of a line:
// the name alone proves nothing. It returns the objects that nothing explains.
func (a *auditor) superseded(ctx context.Context, p *place) (rest []unvouched, err error) {
	objects := map[*group][]unvouched{}
	for _, u := range p.later {
		if u.group == nil {
			rest = append(rest, u)
		} else {
			objects[u.group] = append(objects[u.group], u)
		}
	}
	for g, list := range objects {
		left, err := a.supersededOf(ctx, g, p, list)
		if err != nil {
			return nil, err
		}
		rest = append(rest, left...)
	}
	return rest, nil
}

// supersededOf reads the place's chains of one group again, since no line of theirs is kept in memory.
func (a *auditor) supersededOf(ctx context.Context, g *group, p *place, list []unvouched) (rest []unvouched, err error) {
	objects := map[seqRange][]unvouched{}
	for _, u := range list {
		at := seqRange{u.key.first, u.key.last}
		objects[at] = append(objects[at], u)
	}
	for _, w := range g.at(p) {
		for f := range p.manifests(ctx, w.id, p.chains[w.id], readAhead) {
			switch {
			case errors.Is(f.err, fs.ErrNotExist), errors.Is(f.err, ship.ErrVerify):
				continue // reported already
			case f.err != nil:
				return nil, f.err
			}
			for i := range f.m.Segments {
				c := contentOf(&f.m.Segments[i])
				at := seqRange{c.first, c.last}
				if len(objects[at]) == 0 || c.sum == "" {
					continue
				}
				if objects[at], err = a.explained(ctx, p, w, f.m, c, objects[at]); err != nil {
					return nil, err
				}
			}
		}
	}
	for _, list := range objects {
		rest = append(rest, list...)
	}
	return rest, nil
}

// explained reports the objects that hold a content, and returns the others.
func (a *auditor) explained(ctx context.Context, p *place, w *walk, m *ship.Manifest, c content, list []unvouched) (rest []unvouched, err error) {
	for _, u := range list {
		same, err := p.holds(ctx, &u, c)
		if err != nil {
			return nil, err
		}
		if !same {
			rest = append(rest, u)
			continue
		}
		f := u.Finding
		f.Code, f.Since = ObjectSuperseded, m.Header.Time
		f.Other = p.name + ": " + ship.ManifestKey(w.id.class, w.id.spool, m.Header.Epoch, m.Header.Number)
		f.Detail = "it was uploaded before another owner's records went into the chain; its own records are those of the line there, each of them in an object that a chain names"
		a.rec.add(f)
	}
	return rest, nil
}

// holds reports whether an object has a content.
func (p *place) holds(ctx context.Context, u *unvouched, c content) (bool, error) {
	h := sha256.New()
	var content error
	var there ship.Object
	err := p.request(ctx, func(ctx context.Context) (err error) {
		h.Reset()
		there, content, err = p.examine(ctx, u.Key, u.size, func(r io.Reader) error { return p.survey(ctx, r, &u.key, h) })
		return err
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil // moved away meanwhile
	case err != nil && p.illegible(ctx, u.Key, err):
		return false, nil
	case err != nil:
		return false, err
	}
	return content == nil && there.Size <= u.size && hex.EncodeToString(h.Sum(nil)) == c.sum, nil
}
