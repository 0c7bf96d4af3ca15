package ship

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Join adds a destination to a running Shipper and to its spool (see spool.Shelf.Join). The destination is owed every record
// that is still in the spool, and every later one. The next start must name it in the Options of both; naming it there
// without a Join has the same effect. limits are as in Options.Limits.
//
// If Join fails, nothing has changed, except in the one case that spool.Shelf.Join names: then the spool keeps records for
// the destination, and they are delivered once another call of Join succeeds. A name that the Shipper already has is refused.
func (s *Shipper) Join(name string, d Destination, limits ...*Limiter) error {
	s.joining.Lock()
	defer s.joining.Unlock()
	o := s.o
	if _, ok := o.Destinations[name]; ok {
		return fmt.Errorf("ship: join: there is a destination %q already", name)
	}
	o.Destinations, o.Limits = maps.Clone(o.Destinations), maps.Clone(o.Limits)
	if o.Destinations == nil {
		o.Destinations = map[string]Destination{}
	}
	if o.Destinations[name] = d; len(limits) > 0 {
		if o.Limits == nil {
			o.Limits = map[string][]*Limiter{}
		}
		o.Limits[name] = limits
	}
	if err := o.validate(slices.Collect(maps.Keys(o.Destinations)), []string{s.sp.Dir(), s.sp.Source()}); err != nil {
		return fmt.Errorf("ship: join: %w", err)
	}
	if err := s.sp.Shelf().Join(name); err != nil {
		return fmt.Errorf("ship: join: %w", err)
	}
	l, err := newLane(s, name, d, limits)
	if err != nil {
		return fmt.Errorf("ship: join: %w", err)
	}
	s.enter(l)
	s.o.Destinations, s.o.Limits = o.Destinations, o.Limits
	return nil
}

// enter adds a lane, and starts it if the others run. A Shipper that is ending starts nothing: the records for the new
// destination are then pending, and every report says so.
func (s *Shipper) enter(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := s.all()
	after := append(slices.Clone(before), l)
	slices.SortFunc(after, func(a, b *lane) int { return cmp.Compare(a.name, b.name) })
	s.lanes.Store(&after)
	if s.started && !s.leaving {
		s.wg.Go(func() { s.serve(s.life, l) })
		for _, old := range before {
			s.wg.Go(func() { old.tellHeads(s.life, l) })
		}
	}
	s.changed.Broadcast()
}
