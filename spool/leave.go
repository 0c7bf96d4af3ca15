package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
)

// Left says how much of this spool is in a chain that another owner continues.
type Left struct {
	Segment uint64 // the last segment whose records and losses the chain lists completely
	Through uint64 // the last record of this spool in the chain, which may be in the segment after Segment
	// Stated: the chain also lists all records of the segment after Segment, but other losses than this spool's.
	Stated bool
}

// Leave ends this spool's part of a destination's chain after another owner has written a different manifest under the next number.
// The destination is still owed every record after that part; they are delivered under another spool id, see Rename.
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

// Rename begins a new chain under the spool id name at a destination whose chain was left. name must be the same for every
// owner that has the same record, or losses, where the two chains diverge, and different for all others.
func (s *Shelf) Rename(dest, name string) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if !c.Left {
			return c, nil
		}
		// Save the new id first, so that the chain can be found if its state is lost.
		if err := s.call(dest, name, Left{c.Segment, c.Through, c.Stated}); err != nil {
			return c, err
		}
		return Chain{Spool: name, Epoch: 1, Segment: c.Segment, Through: c.Through, Joined: c.Through + 1, Stated: c.Stated, Passed: c.Passed}, nil
	})
}

// call remembers the spool id of a destination's chain, and where the chain begins.
func (s *Shelf) call(dest, name string, from Left) error {
	s.naming <- struct{}{}
	defer func() { <-s.naming }()
	id := *s.id // only Destinations ever changes
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

// Enter continues a destination's chain after a final manifest, in the next epoch. It is for a final manifest of another owner that
// had fewer records to deliver.
func (s *Shelf) Enter(dest string) error {
	return s.move(dest, func(c Chain) (Chain, error) {
		if c.Final && !c.Left {
			c = c.after()
		}
		return c, nil
	})
}

// after returns the state in which a chain continues that has ended: in the epoch to which it was handed over, otherwise in the
// next one. Every owner that continues the chain computes the same epoch, so that only one of several can take it.
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
	d.proposal, d.proposed = nil, [32]byte{}
	// The proposed manifest is at no destination: another owner's manifest has its number.
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
