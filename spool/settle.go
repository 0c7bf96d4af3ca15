package spool

import (
	"context"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// refuse makes Append, Offer and Seal return ErrClosed from now on.
func (j *journal) refuse() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.closed = true
	j.room.wakeAll()
	j.sealing.wakeAll()
}

// ending describes the state in which the journal was closed.
type ending struct {
	mark     cleanMark
	lost     uint64 // records that are not on stable storage
	unsealed int    // segments without a footer
	err      error  // of closing the active segment
}

// closeFiles closes the files of the journal after finishWriting. orderly says that everything is durable. No goroutine uses the
// journal any more.
func (j *journal) closeFiles(orderly bool) (e ending) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if orderly {
		j.closeBalance()
	}
	e.mark = cleanMark{
		Version: 1, Time: time.Now().UTC(), Life: j.noted.Since, Next: j.taken + 1, Handed: j.noted.Handed, Ledger: *j.ledgerAt(j.placed), Clocks: j.fullClocks(),
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

// closeBalance counts records as lost that listeners have received and not appended: from here on they cannot. j.mu is held, and
// all accepted records are written.
func (j *journal) closeBalance() {
	left := j.ledger.Buffered()
	if left.Records == 0 || j.source != nil { // bytes need not balance: see segment.Ledger
		return
	}
	j.ledger.Lost[segment.GivenUp].Add(segment.Loss{Records: left.Records, Bytes: left.Bytes})
	j.log.Error("spool: closed before the listeners handed over all records; those are lost, and the ledger counts them: end the listeners before the spool", "class", j.opts.Class,
		"records", left.Records, "bytes", left.Bytes)
}

// finishWriting writes all accepted records, with the ledger if it has changed, and syncs them. If the disk refuses, it tries one
// more file, as write does, but then gives up, since Close must end.
func (j *journal) finishWriting() error {
	j.mu.Lock()
	for j.raising {
		_ = j.park(context.Background(), &j.raised, noMark)
	}
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
	if j.tail.synced != j.tail.tailPosition() && j.failed == nil {
		j.failed = ErrFailing
	}
	// No commit follows any more: wake all callers that still wait for one, so that they return the failure.
	j.writer.waiting.wakeAll()
	j.syncer.waiting.wakeAll()
	return j.failed
}
