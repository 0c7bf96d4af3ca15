package spool

import (
	"errors"
	"io/fs"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// ledgerFile keeps the ledger when there is no segment left to hold it: the one of the durable end of the log.
type ledgerFile struct {
	Ledger segment.Ledger `json:"ledger"`
}

// saveLedger writes the ledger beside the log.
func (s *Spool) saveLedger(l *segment.Ledger) error {
	b, err := sealJSON(ledgerFile{*l})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(s.fs, s.path(ledgerName), b)
}

// loadLedger reads it; nil if there is none.
func (s *Spool) loadLedger() *segment.Ledger {
	b, err := vfs.ReadFile(s.fs, s.path(ledgerName), segment.MaxHeader)
	var f ledgerFile
	if err == nil {
		err = openJSON(b, &f)
	}
	if err == nil {
		return &f.Ledger
	}
	if !errors.Is(err, fs.ErrNotExist) {
		s.log.Error("spool: the saved ledger cannot be read", "class", s.opts.Class, "err", err)
	}
	return nil
}
