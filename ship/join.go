package ship

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// Join adds a destination while the Shipper runs, and to its spool (see spool.Shelf.Join): it is owed every record that is still
// there, and every later one. Options that have the new name, with the spool's new list of destinations, have the same effect at
// the next start, which must name the destination too. Limits are as in Options.Limits.
//
// A destination that cannot be used is an error, and nothing has changed then, but for the one case that spool.Shelf.Join names: the
// spool then keeps records for the destination, which come to it once Join has been called again and succeeds. A name that is
// one of the Shipper's already is refused.
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

// enter adds a lane, and starts it if the others run. A Shipper that is ending starts nothing: what the new destination is owed
// is pending then, and every report says so.
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
