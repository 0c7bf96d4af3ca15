package spool

import (
	"github.com/penstock-go/penstock/spool/segment"
)

// Stats returns a cheap and consistent snapshot.
func (s *Spool) Stats() Stats { return s.look(func() {}) }

// Snapshot returns Stats and Ledger of the same moment: with them both equations of the ledger hold exactly in records, except for
// records that listeners have received and not appended yet.
func (s *Spool) Snapshot() (st Stats, l segment.Ledger) {
	st = s.look(func() { l = s.journal.copyLedger() })
	return st, l
}

// look returns Stats, and calls the function also at the same moment, with journal.mu held.
func (s *Spool) look(also func()) (st Stats) {
	s.journal.look(func(j journalState) {
		also()
		q := s.space.usage()
		st = Stats{
			Spool: s.id.Spool, Class: s.opts.Class, Epoch: s.id.Epoch,
			Appended: j.taken, Written: j.written, Durable: j.durable,
			Buffered: j.pending.Sub(j.again), Rewriting: j.again,
			Used: q.used, Quota: q.limit, Full: j.full, Err: j.failed,
			LastAppend: j.last, Memory: Capacity{j.memory, s.opts.MemoryBytes}, Disk: q.disk.capacity(), Panics: s.shelf.panics.Load(),
		}
		st.Pending, st.Oldest = s.shelf.pending(j.unsealed, j.oldest)
		st.Segments, st.Staged = s.shelf.cat.count()
	})
	st.Times = s.journal.times.snapshot()
	panics, untold := s.hooks.counts()
	st.Panics, st.Untold = st.Panics+panics, untold
	return st
}

// pending returns the pending records of each destination.
func (s *Spool) pending() (owed map[string]segment.Tally) {
	s.journal.look(func(j journalState) { owed, _ = s.shelf.pending(j.unsealed, j.oldest) })
	return owed
}

// owed is Shelf.owed while the spool is being opened.
func (s *Spool) owed(d *destination) segment.Tally { return s.shelf.owed(d, s.journal.unsealed()) }
