package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"
)

// loadChains reads the chain states of every destination there ever was, and begins a new epoch if one of those that
// count has closed its chain.
func (s *Spool) loadChains() error {
	final := false
	for name, rem := range s.id.Destinations {
		d, err := s.loadChain(name)
		if errors.Is(err, fs.ErrNotExist) {
			s.log.Error("spool: the chain state of a destination is gone, it begins anew", "class", s.opts.Class, "dest", name)
			continue
		}
		if err != nil {
			return err
		}
		d.forgotten = !rem.Forgotten.IsZero()
		s.dests[name] = d
		// Numbers are never given again: a segment under a number that a chain covers would pass for delivered, and nothing
		// else may be left to tell which were in use.
		s.number = max(s.number, d.chain.Segment)
		final = final || !d.forgotten && d.chain.Final && d.chain.Epoch == s.id.Epoch
	}
	if !final {
		return nil
	}
	if err := s.id.nextEpoch(s.opts.Instance); err != nil {
		return err
	}
	return s.id.save(s.fs, s.dir)
}

// openDestinations compares the destinations that are given with those that are remembered.
func (s *Spool) openDestinations() error {
	// First those that are missing: nothing is changed for the others before all are known to be in order.
	changed := false
	var owed []error
	for name, d := range s.dests {
		if d.forgotten || slices.Contains(s.opts.Destinations, name) {
			continue
		}
		if t := s.owed(d); t.Records > 0 && !slices.Contains(s.opts.Forget, name) {
			owed = append(owed, fmt.Errorf("%w: %q is owed %d records, %d bytes; name it again, or give it up with Forget",
				ErrOwed, name, t.Records, t.Bytes))
			continue
		}
		rem := s.id.Destinations[name]
		rem.Forgotten = time.Now().UTC()
		s.id.Destinations[name] = rem
		d.forgotten = true
		s.noteDelivery(d)
		s.ledgerDirty = true
		changed = true
	}
	if len(owed) > 0 {
		slices.SortFunc(owed, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
		return errors.Join(owed...)
	}
	for _, name := range s.opts.Destinations {
		d, err := s.openDestination(name)
		if err != nil {
			return err
		}
		rem, ok := s.id.Destinations[name]
		if !ok || !rem.Forgotten.IsZero() || rem.Joined != d.chain.Joined {
			s.id.Destinations[name] = remembered{Joined: d.chain.Joined}
			changed = true
		}
		d.forgotten = false
		s.noteDelivery(d)
	}
	if !changed {
		return nil
	}
	return s.id.save(s.fs, s.dir)
}

// openDestination makes a destination one of those that count. A new one, or one that comes back after it was given up,
// is owed what is still here.
func (s *Spool) openDestination(name string) (*destination, error) {
	d := s.dests[name]
	fresh := d == nil
	if fresh {
		d = &destination{name: name, chain: Chain{Epoch: s.id.Epoch}}
	}
	// A chain that comes back goes on where it ended: its manifests are still at the destination, and their numbers taken.
	c := d.chain
	number, first := s.oldest()
	if fresh || d.forgotten && number > c.Segment+1 && first > c.Through+1 {
		c.Segment, c.Through, c.Joined = number-1, first-1, first
	}
	c = s.nextEpoch(c)
	if fresh || c != d.chain {
		if err := s.saveChain(d, c, d.delivered); err != nil {
			return nil, err
		}
	}
	s.dests[name] = d
	return d, nil
}

// oldest returns number and first sequence number of the oldest segment here, of the next one if there is none.
func (s *Spool) oldest() (number, first uint64) {
	s.cat.mu.Lock()
	defer s.cat.mu.Unlock()
	switch {
	case len(s.cat.segs) > 0:
		return s.cat.segs[0].Number, s.cat.segs[0].First
	case s.active != nil:
		return s.active.number, s.active.header.First
	}
	return s.number + 1, s.taken + 1
}
