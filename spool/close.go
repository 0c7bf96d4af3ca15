package spool

import (
	"errors"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// cleanMark says how an orderly Close left the spool.
type cleanMark struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	// Segment is the active one, 0 if there is none; everything below End in it is durable.
	Segment uint64 `json:"segment,omitempty"`
	End     int64  `json:"end,omitempty"`
	// Next is the sequence number to be given next.
	Next uint64 `json:"next"`
	// Handed is what a successor may hold in memory, 0 if there is none: see Spool.HandOver.
	Handed int64 `json:"handed,omitempty"`
	// Ledger as it stands in the log, for when the segment that holds it is lost.
	Ledger segment.Ledger `json:"ledger"`
	// Clocks go on in the next process.
	Clocks *clocks `json:"clocks,omitempty"`
}

// Shut closes the two doors for good, and nothing else: Append and Offer return ErrClosed. What they have taken shows in
// Stats and Ledger when it returns, so that a final manifest can be: nothing is kept behind it.
func (s *Spool) Shut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shut = true
	s.room.wakeAll()
}

// Close commits and syncs what was taken, writes the clean mark without sealing, and releases the lock. Idempotent. An
// error says that something which was taken could not be made durable, or that the end was not orderly otherwise.
func (s *Spool) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Spool) close() error {
	s.mu.Lock()
	s.closed = true
	s.room.wakeAll()
	s.sealing.wakeAll()
	s.mu.Unlock()

	// Whoever waits for a commit is served by this one. Calls that stage or acknowledge are ended, the one, and awaited, the
	// other: once the lock is released, the files are somebody else's.
	err := s.settle()
	s.end()
	s.calls.Wait()
	close(s.stop)
	s.running.Wait()
	s.mu.Lock()
	if err == nil {
		s.closeBalance()
	}
	a, sp, unsealed := s.active, s.spare, len(s.rolled)
	s.spare = nil
	m := cleanMark{Version: 1, Time: time.Now().UTC(), Next: s.taken + 1, Handed: s.handed, Ledger: *s.ledgerAt(s.placed), Clocks: s.clocks()}
	lost := s.taken - s.durable
	if a != nil {
		m.Segment, m.End = a.number, a.synced
	}
	for _, r := range s.rolled {
		_ = r.file.Close()
	}
	s.mu.Unlock()
	if err != nil {
		err = fmt.Errorf("spool: closed with %d records that are not on stable storage: %w", lost, err)
	}
	if sp != nil {
		s.discard(sp)
	}
	if a != nil {
		if cerr := a.file.Close(); err == nil && cerr != nil {
			err = cerr
		}
	}
	// Without the mark the next Open looks at everything: that is always right, only slower.
	if err == nil && unsealed == 0 {
		var b []byte
		if b, err = statefile.Seal(m); err == nil {
			err = s.writeAtomic(s.path(cleanName), b)
		}
		if err == nil && s.source == nil {
			err = s.endLife()
		}
	}
	s.witness.close()
	return errors.Join(err, s.idx.Close(), s.lock.Close(), s.leave())
}

// closeBalance counts as lost what listeners have received and never handed over: from here on nobody can. s.mu is held, and
// everything that was taken is written.
func (s *Spool) closeBalance() {
	left := s.ledger.Buffered()
	if left == (segment.Tally{}) || s.source != nil {
		return
	}
	s.ledger.Lost[segment.GivenUp].Add(segment.Loss{Records: left.Records, Bytes: left.Bytes})
	s.log.Error("spool: closed before listeners had handed over what they received: it is lost", "class", s.opts.Class,
		"records", left.Records, "bytes", left.Bytes)
}

// settle writes everything, with the ledger if it has changed, and syncs it. A disk that refuses is given one more file,
// as ever, and no more than that: Close must end.
func (s *Spool) settle() error {
	s.mu.Lock()
	s.acquire(&s.syncer)
	s.acquire(&s.writer)
	s.mu.Unlock()
	err := s.writeTail(true)
	if err != nil {
		err = s.writeTail(true)
	}
	s.mu.Lock()
	s.release(&s.writer)
	if err != nil {
		s.fail(err)
	}
	s.mu.Unlock()
	s.sync()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.release(&s.syncer)
	if s.tail.synced != s.tail.end() && s.failed == nil {
		s.failed = ErrFailing
	}
	// Nobody commits any more: whoever still waits for a commit is told that it failed.
	s.writer.waiting.wakeAll()
	s.syncer.waiting.wakeAll()
	return s.failed
}
