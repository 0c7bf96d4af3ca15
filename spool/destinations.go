package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// loadChains reads the chain states of every destination there ever was, and begins a new epoch if one of those that
// count has closed its chain.
func (s *Spool) loadChains() error {
	final := false
	for name, rem := range s.id.Destinations {
		d, err := persist(s.patience, func(bool) (*destination, error) { return s.loadChain(name) })
		if statefile.AnswerTo(err) == statefile.Refused {
			return err
		}
		if err != nil && !rem.Forgotten.IsZero() { // it is owed nothing, so that nothing is lost and nobody has to know
			if err := s.setChainAside(name); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			if d, err = s.loseChain(name, err); err != nil {
				return err
			}
		}
		d.forgotten = !rem.Forgotten.IsZero()
		s.shelf.dests[name] = d
		// Numbers are never given again: a segment under a number that a chain covers would pass for delivered, and nothing
		// else may be left to tell which were in use.
		s.space.number = max(s.space.number, d.chain.Segment)
		final = final || !d.forgotten && d.chain.Epoch == s.id.Epoch && !d.chain.Left && (d.chain.Final || s.shelf.proposesFinal(d))
	}
	if !final || s.source != nil { // an adopter appends nothing behind it
		return nil
	}
	if err := s.id.nextEpoch(s.opts.Instance); err != nil {
		return err
	}
	return s.id.save(s.fs, s.dir)
}

// loseChain goes on without the chain state of a destination. Its manifests stand there, and are found again by whoever
// ships: until then nothing counts as delivered, and nothing is deleted. What was proposed to follow goes with the state,
// since without it nobody can tell what it follows.
func (s *Spool) loseChain(name string, why error) (*destination, error) {
	s.log.Error("spool: the chain state of a destination is lost; the shipper rebuilds it from the chain there, and no segment is deleted until then: see what the disk reports", "class", s.opts.Class, "destination", name, "err", why)
	if err := s.setChainAside(name); err != nil {
		return nil, err
	}
	return &destination{name: name, lost: true}, nil
}

// setChainAside sets the chain state of a destination aside, and what was proposed to follow it.
func (s *Spool) setChainAside(name string) error {
	for _, file := range []string{name + stateExt, name + nextExt} {
		if err := s.setAside(chainDir, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("spool: set the chain state of %q aside: %w", name, err)
		}
	}
	return nil
}

var errAged = errors.New("it is older than the chain: the log says that more was delivered")

// relearn gives a destination whose chain state is lost the state that is certain: it has what was deleted, which only
// happens to what every destination has.
func (s *Spool) relearn(d *destination) error {
	number, first := s.oldest()
	c := s.unknownChain(d.name)
	c.Segment, c.Through, c.Joined = number-1, first-1, s.id.Destinations[d.name].Joined
	delivered := s.journal.ledger.Destinations[d.name].Tally
	if c.Joined == 0 {
		c.Joined = first
	}
	// What the chains of the identities before contain, the one that is looked for does not speak of.
	if rem := s.id.Destinations[d.name]; rem.Spool != "" && rem.Joined > first {
		c.Segment, c.Through, c.Stated = max(c.Segment, rem.Segment), rem.Joined-1, rem.Stated
	}
	aged := d.aged
	d.chain, d.lost, d.aged = c, false, nil
	// One that was owed everything has what is neither owed nor damaged, and no other one has more.
	if most := s.journal.ledger.Kept.Sub(s.owed(d)).Sub(s.journal.ledger.Damaged); c.Joined == 1 || delivered.Records > most.Records {
		delivered = most
	}
	if aged != nil && aged.chain == c && aged.delivered == delivered {
		d.delivered = delivered // it was learned again by an earlier process
		return nil
	}
	if aged != nil {
		if _, err := s.loseChain(d.name, errAged); err != nil {
			return err
		}
	}
	return s.shelf.saveChain(d, c, delivered)
}

// openDestinations compares the destinations that are given with those that are remembered.
func (s *Spool) openDestinations() error {
	// First those that are missing: nothing is changed for the others before all are known to be in order.
	for _, d := range s.shelf.dests {
		if d.lost {
			if err := s.relearn(d); err != nil {
				return err
			}
		}
	}
	changed := false
	var owed []error
	for name, d := range s.shelf.dests {
		if d.forgotten || slices.Contains(s.opts.Destinations, name) {
			continue
		}
		if t := s.owed(d); t.Records > 0 && !slices.Contains(s.opts.Forget, name) {
			owed = append(owed, fmt.Errorf("%w: %q is owed %d records, %d bytes; name it again, or give it up with Forget",
				ErrPending, name, t.Records, t.Bytes))
			continue
		}
		s.tellForgotten(d) // before it is done
		rem := s.id.Destinations[name]
		rem.Forgotten = time.Now().UTC()
		s.id.Destinations[name] = rem
		d.forgotten = true
		d.note(&s.journal.ledger)
		s.journal.ledgerDirty = true
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
		now := remembered{Joined: d.chain.Joined}
		if d.chain.Spool != s.id.Spool {
			now.Spool = d.chain.Spool
			if rem.Spool == now.Spool {
				now.Segment, now.Stated = rem.Segment, rem.Stated
			}
		}
		if !ok || rem != now {
			s.id.Destinations[name] = now
			changed = true
		}
		d.forgotten = false
		d.note(&s.journal.ledger)
	}
	for _, name := range s.opts.Forget {
		if _, ok := s.id.Destinations[name]; !ok {
			s.log.Warn("spool: there is no such destination to give up (Forget), so nothing was given up: correct the name, or remove it", "class", s.opts.Class, "destination", name,
				"known", slices.Sorted(maps.Keys(s.id.Destinations)))
		}
	}
	if !changed {
		return nil
	}
	return s.id.save(s.fs, s.dir)
}

// tellForgotten says what is given up with a destination.
func (s *Spool) tellForgotten(d *destination) {
	t := s.owed(d)
	if t.Records == 0 {
		s.log.Info("spool: a destination is no longer one of this spool's; it was owed nothing, so nothing needs to be done", "class", s.opts.Class, "destination", d.name)
		return
	}
	var others []string
	for _, name := range s.opts.Destinations {
		if o := s.shelf.dests[name]; o != nil && !o.forgotten {
			others = append(others, name)
		}
	}
	kept := "no destination is left that was owed them"
	if len(others) > 0 {
		kept = "at, or on the way to, " + strings.Join(others, ", ")
	}
	s.log.Warn("spool: giving up a destination (Forget): its pending records will not be delivered to it", "class", s.opts.Class, "destination", d.name,
		"gives_up", units.Records(t.Records, t.Bytes), "through", d.chain.Through, "elsewhere", kept)
}

// openDestination makes a destination one of those that count. A new one, or one that comes back after it was given up,
// is owed what is still here.
func (s *Spool) openDestination(name string) (*destination, error) {
	d := s.shelf.dests[name]
	fresh := d == nil
	if fresh {
		d = &destination{name: name, chain: s.unknownChain(name)}
	}
	// A chain that comes back goes on where it ended: its manifests are still at the destination, and their numbers taken.
	c := d.chain
	number, first := s.oldest()
	if fresh || d.forgotten && number > c.Segment+1 && first > c.Through+1 {
		c.Segment, c.Through, c.Joined = number-1, first-1, first
	}
	// An adopter goes on behind a final manifest only if there is more, which whoever ships finds out.
	if c.Final && !c.Left && s.source == nil {
		c = c.after()
	}
	if fresh || c != d.chain {
		if err := s.shelf.saveChain(d, c, d.delivered); err != nil {
			return nil, err
		}
	}
	s.shelf.dests[name] = d
	return d, nil
}

// unknownChain is where a chain is looked for of which nothing is known here: from its first manifest on.
func (s *Spool) unknownChain(dest string) Chain {
	c := Chain{Spool: s.id.Spool, Epoch: 1}
	if name := s.id.Destinations[dest].Spool; name != "" {
		c.Spool = name
	}
	return c
}

// oldest returns number and first sequence number of the oldest segment from which on nothing is missing here, of the next
// one if there is none.
func (s *Spool) oldest() (number, first uint64) {
	number, first = s.space.number+1, s.journal.taken+1
	if a := s.journal.active; a != nil {
		number, first = a.number, a.header.First
	}
	if n, f := s.shelf.cat.oldest(first); n > 0 {
		return n, f
	}
	return number, first
}
