package spool

import "github.com/penstock-go/penstock/spool/segment"

// aged finds chain states that are older than their chains: a file that was restored, or that the disk returns as it once
// was. The ledgers in the log say how far each chain was, and were written after the state. Such a state is as good as
// lost: what it says is still owed may have been delivered and deleted. It stays in its place until relearn knows whether it is
// the state that an earlier process has made for a lost one, which no shipper has followed since.
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
		r.s.shelf.dests[name] = &destination{name: name, lost: true, aged: d}
	}
	return nil
}
