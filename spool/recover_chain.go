package spool

import (
	"cmp"
	"slices"

	"github.com/penstock-go/penstock/spool/segment"
)

// judgeChains finds chain states that are older than their chains, and then the segments that are missing. Which segments a
// destination has got is known from its chain state or, if that is lost, from the ledgers in the log, which are written after the state.
func (r *recovery) judgeChains() error {
	through := r.deliveredThrough()
	r.aged(through)
	for _, seg := range r.absent {
		if seg.Last < seg.First { // it stated losses, and had no records
			continue
		}
		if slices.ContainsFunc(r.parts, func(p *part) bool { return p.number == seg.Number }) || !r.isLacking(seg, through) {
			continue
		}
		r.missing = min(cmp.Or(r.missing, seg.First), seg.First)
		r.s.log.Error("spool: a segment is missing that not every destination has; its records are reported as damaged: find the file, for example in a backup, before the damage is given up", "class", r.s.opts.Class, "segment", seg.Number, "first", seg.First, "last", seg.Last)
	}
	return nil
}

// deliveredThrough returns how far each chain was at least, as the newest ledgers say that recovery can have without reading a segment.
func (r *recovery) deliveredThrough() map[string]uint64 {
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
	return known
}

// aged finds chain states that are older than their chains, because a file was restored, or because the disk returns old contents. An
// aged state is treated as lost: segments that it says are pending may have been delivered and deleted. It stays in its place until
// relearn knows whether an earlier process has made it for a lost one, and no shipper has rebuilt it since.
func (r *recovery) aged(through map[string]uint64) {
	for name, d := range r.s.shelf.dests {
		if d.lost || d.forgotten || d.chain.Through >= through[name] {
			continue
		}
		r.s.shelf.dests[name] = &destination{name: name, lost: true, aged: d}
	}
}

// isLacking reports whether a destination lacks a segment that has no file that can be used. If the chain state is lost, an entry in the
// index is no proof: after a kill it may be that of a segment that every destination has, and whose deletion was interrupted. It is one
// after an orderly end, or if a file is left that such a deletion would have removed first.
func (r *recovery) isLacking(seg *sealed, through map[string]uint64) bool {
	proof := r.clean != nil || r.remains[seg.Number]
	for name, d := range r.s.shelf.dests {
		if !d.forgotten && (d.lost && proof && through[name] < seg.Last || !d.lost && d.chain.Segment < seg.Number) {
			return true
		}
	}
	return false
}
