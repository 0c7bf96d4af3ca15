package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/internal/hist"
	"github.com/penstock-go/penstock/spool/segment"
)

// accept implements Append, Offer, TryOffer and Keep: see door.
func (j *journal) accept(ctx context.Context, batch []segment.Record, d door) (last uint64, err error) {
	began := hist.Now()
	last, err = j.take(ctx, batch, d, began)
	j.times.appends.Since(began)
	return last, err
}

// take is accept without measuring its duration.
//
// A record that this spool can never accept is counted as lost if it comes from a listener, which would otherwise offer it
// indefinitely.
func (j *journal) take(ctx context.Context, batch []segment.Record, d door, began hist.Start) (last uint64, err error) {
	if err := checkContext(ctx); err != nil {
		return 0, err
	}
	size, tally, err := measure(batch)
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(batch) == 0 {
		return j.taken, nil
	}
	if j.source != nil {
		return 0, ErrReadOnly
	}
	if most := j.space.largest.Load(); size > most {
		err = fmt.Errorf("%w: batch of %d bytes exceeds the %d that the quota accepts at once", ErrTooLong, size, most)
	}
	if err != nil {
		return 0, j.tooLong(batch, d, err)
	}
	if err = j.admit(ctx, size, tally, d); err != nil {
		return 0, err
	}
	j.tail.put(j.taken+1, batch)
	j.taken += uint64(len(batch))
	last = j.taken
	j.accepted = began // reading the clock a third time would add nothing
	if d.count {
		j.ledger.Received.Add(tally)
	}
	j.ledgerDirty = true
	if !d.wait {
		j.arm()
		return last, nil
	}
	if j.opts.Sync == SyncAlways {
		err = j.await(ctx, &j.syncer, &j.durable, last)
	} else {
		err = j.await(ctx, &j.writer, &j.written, last)
	}
	if err != nil {
		j.arm() // the caller no longer waits, but the batch is accepted
		return last, err
	}
	return last, nil
}

// measure returns the largest size of a batch in blocks, without their headers, and its tally.
func measure(batch []segment.Record) (size int64, tally segment.Tally, err error) {
	var attrs *segment.Attrs
	many := false
	for i := range batch {
		n := len(batch[i].Data)
		if n > segment.MaxRecord {
			err = fmt.Errorf("%w: %d bytes", ErrTooLong, n)
		}
		size += int64(segment.RecordSize(n, batch[i].Src))
		tally.Bytes += uint64(n)
		if a := batch[i].Attrs; a != attrs { // once for each run: at least as often as within a block
			size += int64(a.Size())
			attrs, many = a, true
		}
	}
	if many { // a run that continues in the next block writes its attributes again, and blocks are at least half full
		size += size / (segment.BlockTarget / 2) * segment.MaxAttrsSize
	}
	tally.Records = uint64(len(batch))
	return size, tally, err
}

// tooLong returns the error for a batch that is longer than this spool ever accepts at once. A listener then splits the batch; a
// single record of a listener is counted as lost. j.mu is held.
func (j *journal) tooLong(batch []segment.Record, d door, err error) error {
	if d.count || len(batch) > 1 {
		return err
	}
	j.log.Error("spool: lost a record that is longer than this spool can ever take: raise Options.MaxBytes (no record may exceed 16 MiB), or bound the length of records at the listener", "class", j.opts.Class, "err", err)
	j.ledger.Lost[segment.FrameTooLong].Add(segment.Loss{Records: 1, Bytes: uint64(len(batch[0].Data))})
	j.noteLedger()
	return rejected{err}
}

// errNoMemory: the memory budget is used up. It wraps ErrFull, since callers handle both in the same way.
var errNoMemory = fmt.Errorf("%w: records waiting for the disk use up the memory budget", ErrFull)

// admit waits until there is room for a batch, on the disk and in memory.
func (j *journal) admit(ctx context.Context, size int64, tally segment.Tally, d door) error {
	came := j.lastCalls
	if size > j.opts.MemoryBytes {
		if _, err := j.cover(ctx, size); err != nil && !j.called(came, size, d) {
			return err
		}
		j.oversize++ // it needs an empty queue, so no other batch may enter meanwhile
		defer func() {
			j.oversize--
			j.room.wakeAll()
		}()
	}
	for {
		switch {
		case j.closed, j.shut:
			return ErrClosed
		case j.failed != nil && !j.noSpace && d.wait:
			return j.failed
		case j.called(came, size, d):
			// As at the other waits, a batch that has heard the last call is let in although its context has ended.
			if waited, _ := j.cover(context.Background(), j.tail.inUse+size); waited {
				continue
			}
			j.overdraw(size)
			return nil
		case d.last:
			return ErrFull
		case !j.hasRoom(size):
			j.fullness.met = true
			if !j.full {
				j.full = true
				j.changed.Broadcast()
			}
			if !j.opts.OnFull.waits() {
				j.reject(tally, d)
				return rejected{ErrFull}
			}
			if d.try {
				return ErrFull
			}
			j.blocked.start()
			err := j.park(ctx, &j.room, noMark)
			j.blocked.stop()
			if err != nil && !j.called(came, size, d) {
				return fmt.Errorf("%w: %w", ErrFull, err)
			}
		case j.tail.fits(size, j.opts.MemoryBytes) && (j.oversize == 0 || size > j.opts.MemoryBytes):
			return nil
		default:
			// Memory is freed when its oldest records are on the disk; on a failing disk, when that recovers.
			if j.failed == nil {
				j.urgent = true
				wake(j.kick)
			}
			if d.try {
				return errNoMemory
			}
			if err := j.park(ctx, &j.room, noMark); err != nil && !j.called(came, size, d) {
				return err
			}
		}
	}
}

// reject counts a batch that is rejected because the spool is full, under the policy Reject.
func (j *journal) reject(tally segment.Tally, d door) {
	if d.count {
		j.ledger.Received.Add(tally)
	}
	j.ledger.Lost[segment.SpoolFull].Add(segment.Loss{Records: tally.Records, Bytes: tally.Bytes})
	j.noteLedger()
}

// waitDurable is Spool.WaitDurable.
func (j *journal) waitDurable(ctx context.Context, seq uint64) error {
	if err := checkContext(ctx); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if seq > j.taken {
		return fmt.Errorf("spool: sequence number %d was not assigned yet", seq)
	}
	return j.await(ctx, &j.syncer, &j.durable, seq)
}

// arm makes sure that the flusher writes the accepted records.
func (j *journal) arm() {
	if j.pendingSince.IsZero() && j.written < j.taken {
		j.pendingSince = time.Now()
		wake(j.kick)
	}
}
