package spool

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// account adds a listener's counts to the ledger: see Intake.Account.
func (j *journal) account(a segment.Account) {
	j.mu.Lock()
	defer j.mu.Unlock()
	// The drop counters of sockets are logged together with the counts that they belong to: a listener that takes over a socket
	// from an earlier process (systemd keeps sockets open across restarts) counts from there.
	waited := j.blocked.report(a.Socket)
	if o := a.Lost[segment.KernelOverflow]; o.Records > 0 && waited {
		a.Lost[segment.SpoolFull].Add(o)
		a.Lost[segment.KernelOverflow] = segment.Loss{}
	}
	j.ledger.Received.Add(a.Received)
	j.ledger.Made.Add(a.Made)
	j.ledger.Filtered.Add(a.Filtered)
	j.ledger.Lost.Add(a.Lost)
	if a.Socket != 0 {
		if j.ledger.Sockets == nil {
			j.ledger.Sockets = map[uint64]uint64{}
		}
		j.ledger.Sockets[a.Socket] = a.Drops
	}
	if a != (segment.Account{}) {
		j.noteLedger()
	}
}

// snapshot returns the counters as of now.
func (j *journal) snapshot() segment.Ledger {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.copyLedger()
}

// copyLedger is snapshot with j.mu held.
func (j *journal) copyLedger() segment.Ledger {
	l := j.ledger.Clone()
	l.Time = time.Now().UTC()
	return *l
}

// change lets the shelf change the ledger. fn is called with j.mu held, so that it can change the shelf's own fields at the
// same moment. It returns whether the ledger must be written to the log because of the change.
func (j *journal) change(fn func(l *segment.Ledger) (write bool)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if fn(&j.ledger) {
		j.noteLedger()
	}
}

// atSealedEnd returns the ledger, with the records that were kept up to the end of the last sealed segment.
func (j *journal) atSealedEnd() *segment.Ledger {
	j.mu.Lock()
	defer j.mu.Unlock()
	l := j.ledger.Clone()
	l.Kept = j.sealedEnd.tally()
	return l
}

// sealedThrough implements shelfJournal.
func (j *journal) sealedThrough() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.sealedEnd.seq
}

// orphan returns the ledger at the durable end of the log if no file of the journal holds it, otherwise nil. The active segment
// holds it once its header is on stable storage: before that a power cut may leave nothing of the segment.
func (j *journal) orphan() *segment.Ledger {
	j.mu.Lock()
	defer j.mu.Unlock()
	held := j.active != nil && j.active.synced > 0
	for _, r := range j.rolled {
		held = held || r.end > 0
	}
	if held {
		return nil
	}
	return j.ledgerAt(j.placed)
}

// durableEnd returns the ledger at the durable end of the log, and the last record that was accepted.
func (j *journal) durableEnd() (l *segment.Ledger, through uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ledgerAt(j.placed), j.taken
}

// dropSockets forgets the drop counters of sockets that no listener has reported since the spool was opened: the process that had
// them has ended. It does nothing in the first minute, in which the listeners of this process report theirs. j.mu is held.
func (j *journal) dropSockets(now time.Time) {
	if now.Sub(j.opened) < time.Minute {
		return
	}
	maps.DeleteFunc(j.ledger.Sockets, func(socket, _ uint64) bool {
		_, ok := j.blocked.reports[socket]
		return !ok
	})
}

// noteLedger makes sure that a change of the ledger is written to the log. j.mu is held.
func (j *journal) noteLedger() {
	if !j.ledgerDirty {
		j.ledgerDirty = true
		wake(j.kick)
	}
}

// ledgerAt returns the ledger for a place in the log. j.mu is held.
func (j *journal) ledgerAt(p place) *segment.Ledger {
	l := j.ledger.Clone()
	l.Version = 1
	l.Time = time.Now().UTC()
	l.Kept = p.tally()
	return l
}

// tailLedger queues a ledger block after all accepted records. j.mu is held.
func (j *journal) tailLedger(now time.Time) {
	j.ledgerTime = now
	j.dropSockets(now)
	l := j.ledgerAt(place{j.taken, j.place.bytes + j.tail.pending().Bytes})
	b, err := json.Marshal(l)
	if err != nil {
		j.log.Error("spool: cannot encode the ledger; records are kept, and the counts are written later: please report this as a bug", "class", j.opts.Class, "err", err)
		return
	}
	j.tail.putLedger(j.taken+1, b)
	j.ledgerDirty = false
}

// blockedTimes remembers when listeners had to wait for room.
type blockedTimes struct {
	waiting int               // waits now
	ended   uint64            // waits that have ended
	reports map[uint64]uint64 // ended, at each socket's last report
}

func (b *blockedTimes) start() { b.waiting++ }

func (b *blockedTimes) stop() {
	b.waiting--
	b.ended++
}

// report notes a report of a socket, and returns whether a listener has waited since the socket's last report.
func (b *blockedTimes) report(socket uint64) bool {
	if b.reports == nil {
		b.reports = map[uint64]uint64{}
	}
	waited := b.waiting > 0 || b.ended != b.reports[socket]
	b.reports[socket] = b.ended
	return waited
}
