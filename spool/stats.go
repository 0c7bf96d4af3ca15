package spool

import "github.com/penstock-go/penstock/spool/segment"

// Stats returns a cheap snapshot.
func (s *Spool) Stats() Stats {
	s.mu.Lock()
	st := Stats{
		SpoolID: s.id.Spool, Class: s.opts.Class, Epoch: s.id.Epoch,
		Appended: s.taken, Written: s.written, Durable: s.durable,
		Buffered: s.tail.pending(),
		Used:     s.quota.used, Quota: s.quota.limit, Full: s.full || !s.hasRoom(0), Err: s.failed,
		Pending: make(map[string]segment.Tally, len(s.dests)),
	}
	// What is not sealed yet lies between the last sealed segment and the end of the log.
	unsealed := s.unsealed()
	chains := make(map[string]uint64, len(s.dests))
	for name, d := range s.dests {
		if !d.forgotten {
			chains[name] = d.chain.Segment
		}
	}
	s.mu.Unlock()
	st.Segments, st.Staged = s.cat.count()
	for name, n := range chains {
		t := s.cat.sum(n)
		t.Add(unsealed)
		st.Pending[name] = t
	}
	return st
}

// unsealed counts what the log holds behind the last sealed segment. s.mu is held.
func (s *Spool) unsealed() segment.Tally {
	kept := s.ledger.Kept
	return segment.Tally{Records: kept.Records - s.sealedEnd.seq, Bytes: kept.Bytes - s.sealedEnd.bytes}
}
