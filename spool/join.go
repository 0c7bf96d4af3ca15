package spool

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/penstock-go/penstock/spool/segment"
)

// Join adds a destination while the spool is open. The destination is owed every later record, and every record still in the spool,
// from the oldest segment after which no segment is missing: the same as if its name were passed to Open now. After Join returns, no
// segment is deleted that the destination does not have. If the spool already has the destination, Join does nothing.
//
// If Join fails, nothing has changed, with one exception: if the disk fails so that it is not certain which destinations spool.json
// names after a power cut, the destination is owed its records, and the caller must call Join again.
//
// Join refuses a name that was given up before, and an adopted spool: there only Open can determine which records are owed.
func (s *Shelf) Join(name string) error {
	if err := segment.CheckDestination(name); err != nil {
		return fmt.Errorf("spool: join: %w", err)
	}
	if s.source != nil {
		return errors.New("spool: join: an adopted spool accepts no new destination")
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
	s.pruning.Lock() // no segment is deleted before the new destination counts
	defer s.pruning.Unlock()
	d := &destination{name: name}
	c := s.beginning()
	// The state first, as in Open: a chain state without a name in spool.json is ignored, but a name without a state means that the
	// state is lost.
	if err := s.saveChain(d, c, segment.Tally{}); err != nil {
		return err
	}
	id := *s.id // only Destinations ever changes
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
		return fmt.Errorf("spool: join: spool.json may lack %q, whose records are kept: call Join again: %w", name, err)
	}
	s.log.Info("spool: a destination has joined; it gets every record that is still in the spool, and all that follow", "class", s.opts.Class,
		"destination", name, "from", c.Joined)
	return nil
}

// unnamed reports whether it is certain that spool.json does not name a destination, after an attempt to add the name has failed:
// either the file has not changed, or unnamed has written the previous contents again. Certainty is needed because a name without
// a chain state means a lost chain. s.naming is held.
func (s *Shelf) unnamed(name string) bool {
	if id, err := loadIdentity(s.fs, s.dir); err == nil {
		if _, ok := id.Destinations[name]; !ok {
			return true
		}
	}
	return s.id.save(s.fs, s.dir) == nil
}

// beginning returns the chain of a destination that has no segment yet. s.pruning is held.
func (s *Shelf) beginning() Chain {
	// This order matters: a segment that is sealed in between must be owed, even if another destination has it already.
	last := s.furthest()
	through := s.journal.sealedThrough()
	number, first := s.cat.oldest(through + 1)
	if number == 0 { // all sealed segments are deleted, because every destination has them
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

// oldest returns number and first sequence number of the oldest segment from which no record is missing up to next; 0 and next
// if there is no such segment. A segment before a hole is left over from a deletion: every destination has the records in the hole.
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
