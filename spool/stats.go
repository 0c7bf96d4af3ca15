package spool

import (
	"math"

	"github.com/penstock-go/penstock/spool/segment"
)

// Stats returns a cheap snapshot, in which everything fits together.
func (s *Spool) Stats() (st Stats) {
	s.journal.look(func(j journalState) {
		q := s.space.usage()
		st = Stats{
			SpoolID: s.id.Spool, Class: s.opts.Class, Epoch: s.id.Epoch,
			Appended: j.taken, Written: j.written, Durable: j.durable,
			Buffered: j.pending.Sub(j.again), Rewriting: j.again,
			Used: q.used, Quota: q.limit, Full: j.full, Err: j.failed,
			Pending: s.shelf.pending(j.unsealed),
		}
		st.Segments, st.Staged = s.shelf.cat.count()
	})
	return st
}

// pending returns what each destination still has to get.
func (s *Spool) pending() (owed map[string]segment.Tally) {
	s.journal.look(func(j journalState) { owed = s.shelf.pending(j.unsealed) })
	return owed
}

// journalState is what the journal says of itself.
type journalState struct {
	taken, written, durable uint64
	pending                 segment.Tally // in memory and not written
	again                   segment.Tally // of these, what was written before to a file that has failed
	unsealed                segment.Tally // behind the last sealed segment
	full                    bool
	failed                  error
}

// look calls fn with the state of the journal, and keeps the journal as it is meanwhile: no segment goes to the shelf.
func (j *journal) look(fn func(journalState)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	fn(journalState{
		taken: j.taken, written: j.written, durable: j.durable,
		pending:  j.tail.pending(),
		again:    segment.Tally{Records: j.ledger.Kept.Records - j.place.seq, Bytes: j.ledger.Kept.Bytes - j.place.bytes},
		unsealed: j.unsealed(),
		full:     j.full || !j.hasRoom(0), failed: j.failed,
	})
}

// unsealed counts what the log holds behind the last sealed segment. j.mu is held, or the spool is being opened.
func (j *journal) unsealed() segment.Tally {
	kept := j.ledger.Kept
	return segment.Tally{Records: kept.Records - j.sealedEnd.seq, Bytes: kept.Bytes - j.sealedEnd.bytes}
}

// pending returns what each destination still has to get, with so much that is not sealed yet.
func (s *Shelf) pending(unsealed segment.Tally) map[string]segment.Tally {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]segment.Tally, len(s.dests))
	for name, d := range s.dests {
		if !d.forgotten {
			all[name] = s.owed(d, unsealed)
		}
	}
	return all
}

// owed returns what a destination still has to get: what is sealed and its chain does not cover, and what is not sealed yet.
// s.mu is held, or the spool is being opened.
func (s *Shelf) owed(d *destination, unsealed segment.Tally) segment.Tally {
	t := s.cat.sum(d.chain.Segment, math.MaxUint64)
	t.Add(unsealed)
	return t
}

// owed is Shelf.owed while the spool is being opened.
func (s *Spool) owed(d *destination) segment.Tally { return s.shelf.owed(d, s.journal.unsealed()) }
