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
	// Baselines of sockets go into the log with the counts they belong to: a listener that takes a socket over from an
	// earlier process (systemd keeps them open across restarts) counts on from there.
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

// change lets the shelf change the ledger. fn is called with j.mu held, so that it can change the shelf's own account at the
// same moment. It returns whether the change is reason enough to write a ledger to the log.
func (j *journal) change(fn func(l *segment.Ledger) (write bool)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if fn(&j.ledger) {
		j.noteLedger()
	}
}

// atSealedEnd returns the ledger, with what was kept up to the end of the last sealed segment.
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

// orphan returns the ledger at the durable end of the log if no file of the journal holds it, otherwise nil. A segment that is
// being written holds it once its header is on stable storage: until then a power cut may leave nothing of it.
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

// durableEnd returns the ledger at the durable end of the log, and the last record that was taken.
func (j *journal) durableEnd() (l *segment.Ledger, through uint64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.ledgerAt(j.placed), j.taken
}

// dropSockets forgets the drop counters of sockets that nobody has reported since the spool was opened: their process has
// gone. It waits until the listeners of this one had the time to take theirs up. j.mu is held.
func (j *journal) dropSockets(now time.Time) {
	if now.Sub(j.opened) < time.Minute {
		return
	}
	maps.DeleteFunc(j.ledger.Sockets, func(socket, _ uint64) bool {
		_, ok := j.blocked.reports[socket]
		return !ok
	})
}

// noteLedger makes sure that a change of the ledger gets into the log. j.mu is held.
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

// tailLedger puts a ledger block behind everything that was taken. j.mu is held.
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
	waiting int               // now
	ended   uint64            // how often somebody has waited
	reports map[uint64]uint64 // ended, at a socket's last report
}

func (b *blockedTimes) start() { b.waiting++ }

func (b *blockedTimes) stop() {
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
