package spool

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-go/penstock/spool/segment"
)

// Join adds a destination while the spool is open. It is owed every record that is still here, from the oldest segment after
// which nothing is missing, and every later one: the same as if Open had been given its name now. From its return on no segment
// is deleted that the destination does not have. A name that is one of the spool's already is no error.
//
// If Join fails, nothing has changed, but for one case: the disk fails so that it is not certain which destinations spool.json names
// after a power cut. The destination is then owed its records, and Join has to be called again.
//
// A name that was given up before, and a spool that was adopted, are refused: Open judges what they are owed.
func (s *Shelf) Join(name string) error {
	if err := segment.CheckDestination(name); err != nil {
		return fmt.Errorf("spool: join: %w", err)
	}
	if s.source != nil {
		return errors.New("spool: join: an adopted spool is delivered to the destinations that it had")
	}
	if err := s.admit(); err != nil {
		return err
	}
	defer s.calls.Done()
	s.naming <- struct{}{}
	defer func() { <-s.naming }()
	switch d, err := s.destination(name); {
	case err == nil && d.unsure:
		if err := s.id.save(s.fs, s.dir); err != nil {
			return fmt.Errorf("spool: join: %w", err)
		}
		d.unsure = false
		return nil
	case err == nil && !d.forgotten:
		return nil
	case err == nil:
		return fmt.Errorf("spool: join: %q was given up before: open the spool again with it", name)
	}
	return s.join(name)
}

// join is Join for a name that is new. s.naming is held.
func (s *Shelf) join(name string) error {
	s.pruning.Lock() // nothing is deleted between the look at what is here and the destination's claim to it
	defer s.pruning.Unlock()
	d := &destination{name: name}
	c := s.beginning()
	// In the order of Open: a chain state without a name in spool.json means nothing, a name without a state means a lost one.
	if err := s.saveChain(d, c, segment.Tally{}); err != nil {
		return err
	}
	id := *s.id // of which nothing else ever changes
	id.Destinations = maps.Clone(id.Destinations)
	id.Destinations[name] = remembered{Joined: c.Joined}
	err := id.save(s.fs, s.dir)
	if err != nil && s.unnamed(name) {
		s.journal.change(func(l *segment.Ledger) bool { delete(l.Destinations, name); return false })
		return errors.Join(err, s.fs.Remove(s.chainPath(name)))
	}
	d.unsure = err != nil
	s.id.Destinations = id.Destinations
	s.mu.Lock()
	s.dests[name] = d
	s.mu.Unlock()
	s.changed.Broadcast()
	if err != nil {
		return fmt.Errorf("spool: join: the disk may or may not have the name of %q; its records are kept for it: join again: %w", name, err)
	}
	s.log.Info("spool: a destination has joined; it gets every record that is still in the spool, and all that follow", "class", s.opts.Class,
		"destination", name, "from", c.Joined)
	return nil
}

// unnamed reports whether spool.json certainly does not name a destination, after an attempt to add the name has failed: either
// the file has not changed, or the one before was written again. It must be certain, because a name without a chain state is a
// lost chain. s.naming is held.
func (s *Shelf) unnamed(name string) bool {
	if id, err := loadIdentity(s.fs, s.dir); err == nil {
		if _, ok := id.Destinations[name]; !ok {
			return true
		}
	}
	return s.id.save(s.fs, s.dir) == nil
}

// beginning returns the chain of a destination that has nothing yet. s.pruning is held.
func (s *Shelf) beginning() Chain {
	// In this order: a segment that is sealed in between is owed, also if another destination has it already.
	last := s.furthest()
	through := s.journal.sealedThrough()
	number, first := s.cat.oldest(through + 1)
	if number == 0 { // what was sealed is deleted, because every destination has it
		number = last + 1
	}
	return Chain{Spool: s.id.Spool, Epoch: 1, Segment: number - 1, Through: first - 1, Joined: first}
}

// furthest returns the last segment that any destination has.
func (s *Shelf) furthest() (number uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, d := range s.dests {
		number = max(number, d.chain.Segment)
	}
	return number
}

// oldest returns number and first sequence number of the oldest segment from which on nothing is missing before next; 0 and next
// if there is no such segment. One before a hole is left over from a deletion: every destination had what was in the hole.
func (c *catalogue) oldest(next uint64) (number, first uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first = next
	for _, seg := range slices.Backward(c.segs) {
		if seg.Last+1 < first {
			break
		}
		number, first = seg.Number, seg.First
	}
	return number, first
}
