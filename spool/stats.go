package spool

import (
	"math"

	"github.com/penstock-go/penstock/spool/segment"
)

// Stats returns a cheap snapshot, in which everything fits together.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	pending := s.tail.pending()
	again := segment.Tally{Records: s.ledger.Kept.Records - s.place.seq, Bytes: s.ledger.Kept.Bytes - s.place.bytes}
	st := Stats{
		SpoolID: s.id.Spool, Class: s.opts.Class, Epoch: s.id.Epoch,
		Appended: s.taken, Written: s.written, Durable: s.durable,
		Buffered: pending.Sub(again), Rewriting: again,
		Used: s.quota.used, Quota: s.quota.limit, Full: s.full || !s.hasRoom(0), Err: s.failed,
		Pending: make(map[string]segment.Tally, len(s.dests)),
	}
	st.Segments, st.Staged = s.cat.count()
	for name, d := range s.dests {
		if !d.forgotten {
			st.Pending[name] = s.owed(d)
		}
	}
	return st
}

// owed returns what a destination still has to get: what is sealed and its chain does not cover, and what lies between
// the last sealed segment and the end of the log. s.mu is held, or the spool is being opened.
func (s *Spool) owed(d *destination) segment.Tally {
	t := s.cat.sum(d.chain.Segment, math.MaxUint64)
	t.Add(s.unsealed())
	return t
}

// unsealed counts what the log holds behind the last sealed segment. s.mu is held.
func (s *Spool) unsealed() segment.Tally {
	kept := s.ledger.Kept
	return segment.Tally{Records: kept.Records - s.sealedEnd.seq, Bytes: kept.Bytes - s.sealedEnd.bytes}
}
