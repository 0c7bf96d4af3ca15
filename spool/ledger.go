package spool

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Account adds a listener's counts to the ledger.
//
// What the kernel dropped in a time in which the listener had to wait for room in the spool is counted as spool_full:
// that is its cause.
func (i *Intake) Account(a segment.Account) {
	s := i.s
	s.mu.Lock()
	defer s.mu.Unlock()
	// Baselines of sockets go into the log with the counts they belong to: a listener that takes a socket over from an
	// earlier process (systemd keeps them open across restarts) counts on from there.
	waited := s.blocked.report(a.Socket)
	if o := a.Lost[segment.KernelOverflow]; o.Records > 0 && waited {
		a.Lost[segment.SpoolFull].Add(o)
		a.Lost[segment.KernelOverflow] = segment.Loss{}
	}
	s.ledger.Received.Add(a.Received)
	s.ledger.Lost.Add(a.Lost)
	if a.Socket != 0 {
		if s.ledger.Sockets == nil {
			s.ledger.Sockets = map[uint64]uint64{}
		}
		s.ledger.Sockets[a.Socket] = a.Drops
	}
	if a.Received != (segment.Tally{}) || a.Lost != (segment.Losses{}) || a.Socket != 0 {
		s.noteLedger()
	}
}

// Ledger returns the counters as of now.
func (s *Spool) Ledger() segment.Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.ledger.Clone()
	l.Time = time.Now().UTC()
	return *l
}

// dropSockets forgets the drop counters of sockets that nobody has reported since the spool was opened: their process has
// gone. It waits until the listeners of this one had the time to take theirs up. s.mu is held.
func (s *Spool) dropSockets(now time.Time) {
	if now.Sub(s.opened) < time.Minute {
		return
	}
	maps.DeleteFunc(s.ledger.Sockets, func(socket, _ uint64) bool {
		_, ok := s.blocked.reports[socket]
		return !ok
	})
}

// noteLedger makes sure that a change of the ledger gets into the log. s.mu is held.
func (s *Spool) noteLedger() {
	if !s.ledgerDirty {
		s.ledgerDirty = true
		wake(s.kick)
	}
}

// ledgerAt returns the ledger for a place in the log. s.mu is held.
func (s *Spool) ledgerAt(p place) *segment.Ledger {
	l := s.ledger.Clone()
	l.Version = 1
	l.Time = time.Now().UTC()
	l.Kept = p.tally()
	return l
}

// tailLedger puts a ledger block behind everything that was taken. s.mu is held.
func (s *Spool) tailLedger(now time.Time) {
	s.ledgerTime = now
	s.dropSockets(now)
	l := s.ledgerAt(place{s.taken, s.place.bytes + s.tail.pending().Bytes})
	b, err := json.Marshal(l)
	if err != nil {
		s.log.Error("spool: cannot encode the ledger", "class", s.opts.Class, "err", err)
		return
	}
	s.tail.putLedger(s.taken+1, b)
	s.ledgerDirty = false
}

// blockedTimes remembers when listeners had to wait for room.
type blockedTimes struct {
	waiting int               // now
	ended   uint64            // how often somebody has waited
	reports map[uint64]uint64 // ended, at a socket's last report
}

func (b *blockedTimes) begin() { b.waiting++ }

func (b *blockedTimes) end() {
	b.waiting--
	b.ended++
}

// report notes that a socket reports, and returns whether anybody waited since it last did.
func (b *blockedTimes) report(socket uint64) bool {
	if b.reports == nil {
		b.reports = map[uint64]uint64{}
	}
	waited := b.waiting > 0 || b.ended != b.reports[socket]
	b.reports[socket] = b.ended
	return waited
}
