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
	"github.com/penstock-go/penstock/spool/segment"
)

// loadChains reads the chain state of every destination that the spool remembers. It begins a new epoch if the chain of a
// destination that is not forgotten is final.
func (s *Spool) loadChains() error {
	final := false
	for name, rem := range s.id.Destinations {
		d, err := persist(s.patience, func(bool) (*destination, error) { return s.loadChain(name) })
		if statefile.AnswerTo(err) == statefile.Refused {
			return err
		}
		if err != nil && !rem.Forgotten.IsZero() { // nothing is pending for it, so nothing is lost, and nothing is logged
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
		// Segment numbers must not be reused: a new segment under a number that a chain covers would count as delivered. Only the
		// chains may still tell which numbers were used.
		s.space.number = max(s.space.number, d.chain.Segment)
		final = final || !d.forgotten && d.chain.Epoch == s.id.Epoch && !d.chain.Left && (d.chain.Final || s.shelf.proposesFinal(d))
	}
	if !final || s.source != nil { // an adopter appends nothing after a final manifest
		return nil
	}
	if err := s.id.nextEpoch(s.opts.Instance); err != nil {
		return err
	}
	return s.id.save(s.fs, s.dir)
}

// loseChain lets Open continue without the chain state of a destination. The shipper rebuilds the state from the manifests there:
// until then nothing counts as delivered, and nothing is deleted. The proposed manifest is set aside too, because without the
// state it is not known which manifest it follows.
func (s *Spool) loseChain(name string, why error) (*destination, error) {
	s.log.Error("spool: the chain state of a destination is lost; the shipper rebuilds it from the chain there, and no segment is deleted until then: see what the disk reports", "class", s.opts.Class, "destination", name, "err", why)
	if err := s.setChainAside(name); err != nil {
		return nil, err
	}
	return &destination{name: name, lost: true}, nil
}

// setChainAside sets aside the chain state of a destination and its proposed manifest.
func (s *Spool) setChainAside(name string) error {
	for _, file := range []string{name + stateExt, name + nextExt} {
		if err := s.setAside(chainDir, file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("spool: set the chain state of %q aside: %w", name, err)
		}
	}
	return nil
}

var errAged = errors.New("it is older than the chain: the log says that more was delivered")

// relearn gives a destination whose chain state is lost the state that is certain: it has all deleted segments, since only segments
// that every destination has are deleted.
func (s *Spool) relearn(d *destination) error {
	number, first := s.oldest()
	c := s.unknownChain(d.name)
	c.Segment, c.Through = number-1, first-1
	if c.Joined = s.id.Destinations[d.name].Joined; c.Joined == 0 {
		c.Joined = first
	}
	// The chain to look for does not list the records that the chains under earlier ids contain.
	if rem := s.id.Destinations[d.name]; rem.Spool != "" && rem.Joined > first {
		c.Segment, c.Through, c.Stated = max(c.Segment, rem.Segment), rem.Joined-1, rem.Stated
	}
	aged := d.aged
	d.chain, d.lost, d.aged = c, false, nil
	delivered := s.countDelivered(d)
	if aged != nil && aged.chain == c && aged.delivered == delivered {
		d.delivered = delivered // an earlier process has relearned this state already
		return nil
	}
	if aged != nil {
		if _, err := s.loseChain(d.name, errAged); err != nil {
			return err
		}
	}
	return s.shelf.saveChain(d, c, delivered)
}

// countDelivered counts the records that a destination has. Its chain state was lost and has just been replaced. It counts whole segments,
// like owed.
func (s *Spool) countDelivered(d *destination) segment.Tally {
	c, known := d.chain, s.journal.ledger.Destinations[d.name]
	delivered, end := known.Tally, c.Through
	for _, seg := range s.shelf.cat.after(c.Segment, 0) {
		if seg.First <= c.Through { // an earlier chain has a part of it
			end = min(end, seg.First-1)
		}
		if seg.Last <= known.Through && c.Through < known.Through { // if they are equal, known may be of either chain
			delivered = delivered.Sub(segment.Tally{Records: seg.Records, Bytes: seg.Bytes})
		}
	}
	if known.Through == end {
		return delivered
	}
	// A destination that was owed every record has all that are neither pending nor damaged, and no destination has more than that.
	most := s.journal.ledger.Kept.Sub(s.owed(d)).Sub(s.journal.ledger.Damaged)
	limit := end
	if known.Through < end {
		limit -= known.Through - min(known.Records, known.Through)
	}
	if most.Records > limit { // damage among the pending records was found just now, and is not in the ledger yet
		most.Bytes = uint64(float64(most.Bytes) / float64(most.Records) * float64(limit)) // nothing says how many
		most.Records = limit
	}
	if c.Joined == 1 || delivered.Records > most.Records {
		return most
	}
	return delivered
}

// openDestinations compares the destinations in the options with those that the spool remembers.
func (s *Spool) openDestinations() error {
	// The missing ones first: the others are changed only if all of these are in order.
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
		s.tellForgotten(d) // before d is marked as forgotten
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

// tellForgotten logs which records are given up with a destination.
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

// openDestination makes d one of the destinations that must acknowledge. A new destination, or one that comes back after it was
// given up, is owed the records that are still in the spool.
func (s *Spool) openDestination(name string) (*destination, error) {
	d := s.shelf.dests[name]
	fresh := d == nil
	if fresh {
		d = &destination{name: name, chain: s.unknownChain(name)}
	}
	// The chain of a destination that comes back continues where it ended: its manifests are still there, and their numbers in use.
	c := d.chain
	number, first := s.oldest()
	if fresh || d.forgotten && number > c.Segment+1 && first > c.Through+1 {
		c.Segment, c.Through, c.Joined = number-1, first-1, first
	}
	// An adopter continues after a final manifest only if there are more records. The shipper finds that out.
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

// unknownChain returns the state of a chain of which nothing is known: the shipper searches from its first manifest on.
func (s *Spool) unknownChain(dest string) Chain {
	c := Chain{Spool: s.id.Spool, Epoch: 1}
	if name := s.id.Destinations[dest].Spool; name != "" {
		c.Spool = name
	}
	return c
}

// oldest returns number and first sequence number of the oldest segment after which no segment is missing here. If there is none,
// it returns those of the next segment.
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
