package spool

import (
	"errors"
	"strings"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

var errAged = errors.New("it is older than the chain: the log says that more was delivered")

// aged finds chain states that are older than their chains: a file that was restored, or that the disk returns as it once
// was. The ledgers in the log say how far each chain was, and were written after the state. Such a state is as good as
// lost: what it says is still owed may have been delivered and deleted.
func (r *recovery) aged() error {
	known := map[string]uint64{}
	note := func(l *segment.Ledger) {
		for name, d := range l.Destinations {
			known[name] = max(known[name], d.Through)
		}
	}
	note(r.saved)
	if r.clean != nil {
		note(&r.clean.Ledger)
	}
	if k := len(r.parts); k > 0 {
		if h, err := r.s.headerOf(r.parts[k-1]); err == nil {
			note(&h.Ledger)
		}
	}
	for name, d := range r.s.shelf.dests {
		if d.lost || d.forgotten || d.chain.Through >= known[name] {
			continue
		}
		lost, err := r.s.loseChain(name, errAged)
		if err != nil {
			return err
		}
		r.s.shelf.dests[name] = lost
	}
	return nil
}

// identityOfChains returns the identity that the chain states tell of, nil if there are none, or of several: for a spool of
// which everything was delivered and deleted, whose numbers must go on all the same. Who wrote it is not known, so that the
// next epoch begins.
func (s *site) identityOfChains() (*identity, error) {
	entries, err := s.fs.ReadDir(s.path(chainDir))
	if err != nil {
		return nil, err
	}
	id := &identity{
		Version: identityVersion, Class: s.opts.Class, Epoch: 1, Instance: "unknown", Created: time.Now().UTC(), Destinations: map[string]remembered{},
	}
	for _, e := range entries {
		name, ok := strings.CutSuffix(e.Name(), stateExt)
		if !ok || segment.CheckDestination(name) != nil {
			continue
		}
		var f chainFile
		err := loadState(s.fs, s.chainPath(name), maxChainFile, 1, &f)
		if statefile.AnswerTo(err) == statefile.Damaged {
			id.Destinations[name] = remembered{} // damaged too: one state is enough, and this one is learned again
			continue
		}
		if err != nil || f.Spool == "" || id.Spool != "" && f.Spool != id.Spool {
			return nil, nil
		}
		if id.Class == "" {
			id.Class = f.Class // an adopter is told of no class
		}
		id.Spool, id.Epoch = f.Spool, max(id.Epoch, f.Chain.Epoch)
		id.Destinations[name] = remembered{Joined: f.Chain.Joined}
	}
	if id.Spool == "" || id.Class == "" {
		return nil, nil
	}
	return id, nil
}
