package spool

import (
	"math"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// ledgerFile holds the ledger at the durable end of the log when no segment is left that contains it.
type ledgerFile struct {
	Ledger segment.Ledger `json:"ledger"`
	// Segment is the last segment number that was assigned.
	Segment uint64 `json:"segment,omitempty"`
}

// saveLedger writes the ledger to a file of its own.
func (s *space) saveLedger(l *segment.Ledger) error {
	s.mu.Lock()
	n := s.number
	s.mu.Unlock()
	b, err := statefile.Seal(ledgerFile{*l, n})
	if err != nil {
		return err
	}
	return s.writeAtomic(s.path(ledgerName), b)
}

// loadLedger reads the file; the zero value if there is none, or a damaged one.
func (s *site) loadLedger() (f ledgerFile, err error) {
	// The file has no version of its own. If it has one, it is another file under the wrong name, and not newer.
	switch err := s.persistState(s.path(ledgerName), segment.MaxHeader, math.MaxInt, &f); statefile.AnswerTo(err) {
	case statefile.Refused:
		return f, err
	case statefile.Damaged:
		s.log.Error("spool: cannot read the saved ledger; counts are taken from the segments instead, and no record is concerned: see what the disk reports", "class", s.opts.Class, "err", err)
		return ledgerFile{}, nil
	}
	return f, nil
}
