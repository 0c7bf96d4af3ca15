package spool

import (
	"math"

	"github.com/penstock-go/penstock/spool/internal/statefile"
	"github.com/penstock-go/penstock/spool/segment"
)

// ledgerFile keeps the ledger when there is no segment left to hold it: the one of the durable end of the log.
type ledgerFile struct {
	Ledger segment.Ledger `json:"ledger"`
	// Segment is the last number that was given.
	Segment uint64 `json:"segment,omitempty"`
}

// saveLedger writes the ledger beside the log.
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

// loadLedger reads it; the zero value if there is none, or none that makes sense.
func (s *site) loadLedger() (f ledgerFile, err error) {
	// The file has no version of its own: one that has is another file of this directory, under the wrong name.
	switch err := s.persistState(s.path(ledgerName), segment.MaxHeader, math.MaxInt, &f); statefile.AnswerTo(err) {
	case statefile.Refused:
		return f, err
	case statefile.Damaged:
		s.log.Error("spool: cannot read the saved ledger; counts are taken from the segments instead, and no record is concerned: see what the disk reports", "class", s.opts.Class, "err", err)
		return ledgerFile{}, nil
	}
	return f, nil
}
