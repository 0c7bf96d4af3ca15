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

// shutDoors is Shelf.Shut.
func (j *journal) shutDoors() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.shut = true
	j.room.wakeAll()
}

// Close commits and syncs what was taken, writes the clean mark without sealing, and releases the lock. Idempotent. An
// error says that something which was taken could not be made durable, or that the end was not orderly otherwise.
func (s *Spool) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Spool) close() error {
	s.shelf.refuse()
	s.journal.refuse()
	// Callers that wait for a commit are served by this one. Calls that stage or acknowledge are ended, the one, and awaited,
	// the other: once the lock is released, the files are another process's.
	err := s.journal.settle()
	s.shelf.endCalls()
	s.stop()
	s.running.Wait()
	end := s.journal.closeFiles(err == nil)
	switch {
	case err != nil:
		err = fmt.Errorf("spool: closed with %d records that are not on stable storage: %w", end.lost, err)
	case end.err != nil:
		err = end.err
	}
	if sp := s.space.takeSpare(); sp != nil {
		s.space.discard(sp)
	}
	// Without the mark the next Open looks at everything: that is always right, only slower.
	if err == nil && end.unsealed == 0 {
		end.mark.Clocks.Down = s.shelf.outages()
		err = s.markClean(end.mark)
	}
	s.journal.witness.close()
	return errors.Join(err, s.shelf.idx.Close(), s.lock.Close(), s.leave())
}

// markClean writes the clean mark, and removes that of the process.
func (s *Spool) markClean(m cleanMark) error {
	b, err := statefile.Seal(m)
	if err == nil {
		err = s.space.writeAtomic(s.path(cleanName), b)
	}
	if err == nil && s.source == nil {
		err = s.journal.endLife()
	}
	return err
}

// refuse makes Append, Offer and Seal return ErrClosed from now on.
func (j *journal) refuse() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.room.wakeAll()
	j.sealing.wakeAll()
}

// ending is how the journal was left.
type ending struct {
	mark     cleanMark
	lost     uint64 // records that are not on stable storage
	unsealed int    // segments without a footer
	err      error  // of closing the active segment
}

// closeFiles closes the files of the journal, which has been settled: all of it is durable if that was orderly. No goroutine
// uses the journal any more.
func (j *journal) closeFiles(orderly bool) (e ending) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if orderly {
		j.closeBalance()
	}
	e.mark = cleanMark{
		Version: 1, Time: time.Now().UTC(), Next: j.taken + 1, Handed: j.handed, Ledger: *j.ledgerAt(j.placed), Clocks: j.fullClocks(),
	}
	e.lost, e.unsealed = j.taken-j.durable, len(j.rolled)
	for _, r := range j.rolled {
		_ = r.file.Close()
	}
	if a := j.active; a != nil {
		e.mark.Segment, e.mark.End = a.number, a.synced
		e.err = a.file.Close()
	}
	return e
}

// closeBalance counts as lost what listeners have received and never handed over: from here on nobody can. j.mu is held, and
// everything that was taken is written.
func (j *journal) closeBalance() {
	left := j.ledger.Buffered()
	if left == (segment.Tally{}) || j.source != nil {
		return
	}
	j.ledger.Lost[segment.GivenUp].Add(segment.Loss{Records: left.Records, Bytes: left.Bytes})
	j.log.Error("spool: closed before listeners had handed over what they received: it is lost", "class", j.opts.Class,
		"records", left.Records, "bytes", left.Bytes)
}

// settle writes everything, with the ledger if it has changed, and syncs it. A disk that refuses is given one more file,
// as ever, and no more than that: Close must end.
func (j *journal) settle() error {
	j.mu.Lock()
	j.acquire(&j.syncer)
	j.acquire(&j.writer)
	j.mu.Unlock()
	err := j.writeTail(true)
	if err != nil {
		err = j.writeTail(true)
	}
	j.mu.Lock()
	j.release(&j.writer)
	if err != nil {
		j.fail(err)
	}
	j.mu.Unlock()
	j.sync()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.release(&j.syncer)
	if j.tail.synced != j.tail.end() && j.failed == nil {
		j.failed = ErrFailing
	}
	// Nobody commits any more: whoever still waits for a commit is told that it failed.
	j.writer.waiting.wakeAll()
	j.syncer.waiting.wakeAll()
	return j.failed
}
