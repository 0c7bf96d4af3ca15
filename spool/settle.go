package spool

import (
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
		Version: 1, Time: time.Now().UTC(), Life: j.noted.Since, Next: j.taken + 1, Handed: j.handed, Ledger: *j.ledgerAt(j.placed), Clocks: j.fullClocks(),
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
	if left.Records == 0 || j.source != nil { // bytes alone belong to no record: see segment.Ledger
		return
	}
	j.ledger.Lost[segment.GivenUp].Add(segment.Loss{Records: left.Records, Bytes: left.Bytes})
	j.log.Error("spool: closed before the listeners handed over all records; those are lost, and the ledger counts them: end the listeners before the spool", "class", j.opts.Class,
		"records", left.Records, "bytes", left.Bytes)
}

// finishWriting writes everything, with the ledger if it has changed, and syncs it. A disk that refuses is given one more file,
// as ever, and no more than that: Close must end.
func (j *journal) finishWriting() error {
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
	if j.tail.synced != j.tail.tailPosition() && j.failed == nil {
		j.failed = ErrFailing
	}
	// Nobody commits any more: whoever still waits for a commit is told that it failed.
	j.writer.waiting.wakeAll()
	j.syncer.waiting.wakeAll()
	return j.failed
}
