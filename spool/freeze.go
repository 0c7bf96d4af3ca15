package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// frozen is the mark that stops deletion across restarts.
type frozen struct {
	Version int       `json:"version"`
	Time    time.Time `json:"time"`
	Why     string    `json:"why"`
}

// Freeze stops deletion, across restarts, until Thaw, even of segments that every destination has acknowledged. It waits for
// a deletion in progress. A drain freezes the spool first: if it finds an object missing or wrong at a destination, only this spool
// can deliver it again, and the process may be killed before it could report that. An error means that the mark may not be
// durable; in this process Freeze is in force even then. Freezing a frozen spool changes the reason.
func (s *Shelf) Freeze(why string) error {
	if why == "" {
		return errors.New("spool: Freeze needs a reason")
	}
	if err := s.admit(); err != nil {
		return err
	}
	defer s.calls.Done()
	s.mu.Lock()
	s.frozen = why
	s.mu.Unlock()
	s.afterPrune()
	b, err := statefile.Seal(frozen{1, time.Now().UTC(), why})
	if err == nil {
		err = s.space.writeAtomic(s.path(frozenName), b)
	}
	if err != nil {
		return fmt.Errorf("spool: freeze: %w", err)
	}
	return nil
}

// Frozen returns why nothing is deleted, "" if Freeze is not in force.
func (s *Shelf) Frozen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.frozen
}

// Thaw ends Freeze. With an error the spool stays frozen.
func (s *Shelf) Thaw() error {
	if err := s.admit(); err != nil {
		return err
	}
	defer s.calls.Done()
	err := s.fs.Remove(s.path(frozenName))
	if err == nil {
		err = s.fs.SyncDir(s.dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("spool: thaw: %w", err)
	}
	s.mu.Lock()
	s.frozen = ""
	s.mu.Unlock()
	wake(s.work)
	return nil
}

// loadFrozen returns why nothing may be deleted, "" if the spool is not frozen. A mark that cannot be read still freezes the spool.
func (s *site) loadFrozen() (why string) {
	var f frozen
	err := s.persistState(s.path(frozenName), 1<<16, 1, &f)
	if statefile.AnswerTo(err) == statefile.Absent {
		return ""
	}
	if why = f.Why; err != nil || why == "" {
		why = "unreadable mark"
	}
	s.log.Warn("spool: no segment is deleted until the destinations are verified, because an earlier drain could not do so; the spool grows until then: the next drain that succeeds ends this", "class", s.opts.Class, "why", why, "err", err)
	return why
}
