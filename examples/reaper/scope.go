package main

import (
	"cmp"
	"context"
	"iter"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
)

// scope is a destination that seems to contain only one spool and its copies: an audit of everything takes hours, and concerns
// other volumes. It narrows listings of documents to those spools. Of objects it lists only the hours of the volume's segments;
// the auditor asks for other objects by name, since the chains name them all.
type scope struct {
	ship.Destination
	id    object.Origin
	hours []int32
}

var _ ship.Lister = (*scope)(nil)

func newScope(d ship.Destination, id object.Origin, segments []spool.Segment) *scope {
	s := &scope{Destination: d, id: id}
	for i := range segments {
		if c := segments[i].Created; !c.IsZero() {
			s.hours = append(s.hours, object.HourOf(c))
		}
	}
	slices.Sort(s.hours)
	s.hours = slices.Compact(s.hours)
	return s
}

// List implements ship.Lister.
func (s *scope) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	all := s.Destination.(ship.Lister)
	if prefix == object.ClassPrefix(s.id.Class) {
		return s.objects(ctx, all)
	}
	if rest, ok := strings.CutSuffix(prefix, "/"+s.id.Class+"/"); ok && strings.HasPrefix(rest, "_") {
		// The ids of copies begin with the same lineage.
		return all.List(ctx, prefix+object.Lineage(s.id.Spool))
	}
	return all.List(ctx, prefix)
}

// objects lists the objects of these hours.
func (s *scope) objects(ctx context.Context, all ship.Lister) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		for _, h := range s.hours {
			for e, err := range all.List(ctx, object.HourPrefix(s.id.Class, h)) {
				k, ok := object.ParseKey(e.Key)
				if err == nil && (!ok || !cmp.Or(k.Origin == s.id, k.Related(s.id))) {
					continue
				}
				if !yield(e, err) {
					return
				}
			}
		}
	}
}

// Location implements ship.Locator.
func (s *scope) Location() string {
	if l, ok := s.Destination.(ship.Locator); ok {
		return l.Location()
	}
	return ""
}
