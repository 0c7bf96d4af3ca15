package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
)

// Left is how much a chain that another owner continues contains of a spool.
type Left struct {
	Segment uint64 // the last segment of which it says everything
	Through uint64 // the last record that it contains, which may be in the segment that follows
	// Stated: it names the records of the segment that follows as well, to the last one, and states other losses.
	Stated bool
}

// Leave ends this spool's part of a destination's chain after another owner has written a different manifest at the next place. The
// destination is still owed every record after that part; they are delivered under another identity, see Rename.
func (s *Shelf) Leave(dest string, at Left) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if at.Segment < c.Segment || at.Through < c.Through {
			return c, fmt.Errorf("spool: leave the chain of %q: goes back from segment %d to %d", dest, c.Segment, at.Segment)
		}
		c.Segment, c.Through, c.Joined, c.Stated = at.Segment, at.Through, at.Through+1, at.Stated
		c.Final, c.Left, c.ClosedBy, c.Taken = true, true, 0, 0
		return c, nil
	})
}

// Rename gives a destination's chain that was left the identity under which it goes on there. It has to be the same for
// whoever has the same record, or losses, where the two part, and for nobody else.
func (s *Shelf) Rename(dest, name string) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if !c.Left {
			return c, nil
		}
		// First where to look for the chain should its state be lost.
		if err := s.call(dest, name, Left{c.Segment, c.Through, c.Stated}); err != nil {
			return c, err
		}
		return Chain{Spool: name, Epoch: 1, Segment: c.Segment, Through: c.Through, Joined: c.Through + 1, Stated: c.Stated, Passed: c.Passed}, nil
	})
}

// call remembers the identity that a destination's chain has, and where it begins.
func (s *Shelf) call(dest, name string, from Left) error {
	s.naming <- struct{}{}
	defer func() { <-s.naming }()
	id := *s.id // of which nothing else ever changes
	id.Destinations = maps.Clone(id.Destinations)
	rem := id.Destinations[dest]
	rem.Spool, rem.Joined, rem.Segment, rem.Stated = name, from.Through+1, from.Segment, from.Stated
	id.Destinations[dest] = rem
	if err := id.save(s.fs, s.dir); err != nil {
		return err
	}
	s.id.Destinations = id.Destinations
	s.log.Warn("spool: another owner continues a chain of this spool with other records; the records that the chain lacks are delivered under another spool id",
		"class", s.opts.Class, "destination", dest, "spool", name)
	return nil
}

// Enter moves a destination's chain on behind a final manifest, into the next epoch: another owner has written it, who had
// less to deliver.
func (s *Shelf) Enter(dest string) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if c.Final && !c.Left {
			c = c.after()
		}
		return c, nil
	})
}

// after is where a chain goes on that has ended: in the epoch that it was handed over to, or else in the next one. Whoever
// goes on with it finds the same place, so that of several owners one gets it.
func (c Chain) after() Chain {
	c.Before, _ = c.Last()
	to := c.ClosedBy
	if to == 0 {
		to = c.Epoch + 1
	}
	c.Epoch, c.Next, c.Final, c.ClosedBy = to, 0, false, 0
	return c
}

// move changes the state of a chain without a manifest.
func (s *Shelf) move(dest string, change func(Chain) (Chain, error)) error {
	d, done, err := s.holdChain(dest)
	if err != nil {
		return err
	}
	defer done()
	s.mu.Lock()
	old, delivered := d.chain, d.delivered
	s.mu.Unlock()
	c, err := change(old)
	if err != nil || c == old {
		return err
	}
	delivered.Add(s.cat.sum(old.Segment, c.Segment))
	d.proposal = nil
	// What was proposed stands nowhere: somebody else's manifest has its number.
	if err := s.fs.Remove(s.proposalPath(dest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: withdraw: %w", err)
	}
	if err := s.saveChain(d, c, delivered); err != nil {
		return err
	}
	s.changed.Broadcast()
	wake(s.work)
	return nil
}
