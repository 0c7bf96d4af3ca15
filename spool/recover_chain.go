package spool

import "github.com/penstock-go/penstock/spool/segment"

// aged finds chain states that are older than their chains, because a file was restored, or because the disk returns old contents.
// The ledgers in the log, which are written after the state, say how far each chain was. An aged state is treated as
// lost: segments that it says are pending may have been delivered and deleted. It stays in its place until relearn knows whether an
// earlier process has made it for a lost one, and no shipper has rebuilt it since.
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
