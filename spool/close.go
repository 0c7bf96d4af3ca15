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
	// Life is when the process that wrote the mark had opened the spool: see lifeMark.
	Life time.Time `json:"life,omitzero"`
	// Segment is the active one, 0 if there is none; everything below End in it is durable.
	Segment uint64 `json:"segment,omitempty"`
	End     int64  `json:"end,omitempty"`
	// Next is the next sequence number to assign.
	Next uint64 `json:"next"`
	// Handed is how many bytes a successor may hold in memory, 0 if there is no successor: see Shelf.HandOver.
	Handed int64 `json:"handed,omitempty"`
	// Ledger is the one in the log, in case the segment that contains it is lost.
	Ledger segment.Ledger `json:"ledger"`
	// Clocks go on in the next process.
	Clocks *clocks `json:"clocks,omitempty"`
}

// Close writes and syncs all accepted records, writes the clean mark without sealing the active segment, and releases the lock. It
// is idempotent. An error means that accepted records could not be made durable, or that the end was not orderly for another
// reason.
func (s *Spool) Close() error {
	s.closeOnce.Do(func() { s.closeErr = s.close() })
	return s.closeErr
}

func (s *Spool) close() error {
	s.shelf.refuse()
	s.journal.refuse()
	// This commit also serves callers that wait for one. Calls that stage or restore are cancelled. Then close waits for all calls
	// that use files, since after the lock is released another process may use the files.
	err := s.journal.finishWriting()
	s.shelf.endCalls()
	s.stop()
	s.running.Wait()
	end := s.journal.closeFiles(err == nil)
	if sp := s.space.takeSpare(); sp != nil {
		s.space.discard(sp)
	}
	switch {
	case err != nil && end.lost > 0:
		err = fmt.Errorf("spool: closed with %d records that are not on stable storage: %w", end.lost, err)
	case err != nil:
		err = fmt.Errorf("spool: closed with all records on stable storage, and without the ledger's last changes: %w", err)
	case end.err != nil:
		err = end.err
	case end.unsealed > 0:
		err = fmt.Errorf("spool: closed before %d segments could be sealed: all records are on stable storage, and the next start "+
			"reports a sudden end", end.unsealed)
	default:
		// Without the mark the next Open reads everything: that is always correct, but slower.
		end.mark.Clocks.Down = s.shelf.outages()
		err = s.markClean(end.mark)
	}
	s.journal.witness.close()
	s.hooks.end()
	return errors.Join(err, s.shelf.idx.Close(), s.leave(s.lock))
}

// markClean writes the clean mark, and removes the life mark of the process.
func (s *Spool) markClean(m cleanMark) error {
	err := s.writeClean(&m)
	if err == nil && s.source == nil {
		err = s.journal.endLife()
	}
	return err
}

func (s *Spool) writeClean(m *cleanMark) error {
	b, err := statefile.Seal(m)
	if err != nil {
		return err
	}
	return s.space.writeAtomic(s.path(cleanName), b)
}
