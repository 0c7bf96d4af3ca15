package spool

import (
	"context"
	"fmt"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// Append returns nil once the batch is kept (see SyncPolicy), with the sequence number of its last record. A batch is
// taken as a whole or not at all, its numbers follow each other, and the spool copies the records.
//
// An error with last = 0 says that nothing was taken; it may be offered again. An error with last > 0 (a context that
// ended, ErrFailing) says that the batch was taken and is not kept yet: it is written as soon as the disk allows, and
// WaitDurable tells when. Offering it again would double it.
//
// A context ends the waiting, for room or for others who write. Who writes for all does not stop in the middle of it.
func (s *Spool) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return s.take(ctx, batch, door{count: true, wait: true})
}

// Offer copies the batch into the memory budget and returns; it waits only while the budget is used up, or the quota is
// and the policy is Block. What it took is received, not yet kept: it is written at the latest after
// Options.SyncInterval. An error says that nothing was taken.
func (s *Spool) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return s.take(ctx, batch, door{count: true})
}

// WaitDurable returns nil once every record up to seq is on stable storage, and syncs early when its callers are all
// that waits.
func (s *Spool) WaitDurable(ctx context.Context, seq uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if seq > s.taken {
		return fmt.Errorf("spool: nothing was taken yet under sequence number %d", seq)
	}
	return s.await(ctx, &s.syncer, &s.durable, seq)
}

// Append is Spool.Append, without counting the records as received.
func (i *Intake) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return i.s.take(ctx, batch, door{wait: true})
}

// Offer is Spool.Offer, without counting the records as received.
func (i *Intake) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return i.s.take(ctx, batch, door{})
}

// Keep takes what a listener that is closed has in hand: over the quota and the memory budget, as long as the disk has room
// beyond the reserve (see LastCall). It does not wait. What it took is received, not yet kept, as with Offer; with an error
// nothing was taken.
func (i *Intake) Keep(batch []segment.Record) (last uint64, err error) {
	return i.s.take(context.Background(), batch, door{last: true})
}

// WaitDurable is Spool.WaitDurable.
func (i *Intake) WaitDurable(ctx context.Context, seq uint64) error { return i.s.WaitDurable(ctx, seq) }

// rejected says that the records have been counted as lost, so that whoever offered them goes on: ErrFull under Reject, or
// ErrTooLong. A listener, which does not know this package, finds that out by the method.
type rejected struct{ why error }

func (r rejected) Error() string { return r.why.Error() }
func (r rejected) Unwrap() error { return r.why }

// Rejected reports that the records have been counted as lost.
func (rejected) Rejected() bool { return true }

// door says how a batch came in.
type door struct {
	count bool // the records are counted as received here
	wait  bool // until the batch is kept
	last  bool // it is taken over the quota, or not at all: see Intake.Keep
}

// take is both doors.
//
// A record that this spool can never take is counted as lost if it comes from a listener, which would offer it for ever.
func (s *Spool) take(ctx context.Context, batch []segment.Record, d door) (last uint64, err error) {
	var size int64 // as it will stand in blocks
	tally := segment.Tally{Records: uint64(len(batch))}
	for i := range batch {
		n := len(batch[i].Data)
		if n > segment.MaxRecord {
			err = fmt.Errorf("%w: %d bytes", ErrTooLong, n)
		}
		size += int64(batch[i].Size())
		tally.Bytes += uint64(n)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(batch) == 0 {
		return s.taken, nil
	}
	if s.source != nil {
		return 0, ErrReadOnly
	}
	if most := s.quota.largest(); size > most {
		err = fmt.Errorf("%w: batch of %d bytes, the quota takes %d at once", ErrTooLong, size, most)
	}
	if err != nil {
		return 0, s.tooLong(batch, d, err)
	}
	if err = s.admit(ctx, size, tally, d); err != nil {
		return 0, err
	}
	s.tail.put(s.taken+1, batch)
	s.taken += uint64(len(batch))
	last = s.taken
	if d.count {
		s.ledger.Received.Add(tally)
	}
	s.ledgerDirty = true
	if !d.wait {
		s.arm()
		return last, nil
	}
	if s.opts.Sync == SyncAlways {
		err = s.await(ctx, &s.syncer, &s.durable, last)
	} else {
		err = s.await(ctx, &s.writer, &s.written, last)
	}
	if err != nil {
		s.arm() // its caller has gone, but the batch is taken
		return last, err
	}
	return last, nil
}

// tooLong is the answer to a batch that is more than this spool ever takes at once. A listener goes on in parts; if it is
// one record, that one is lost. s.mu is held.
func (s *Spool) tooLong(batch []segment.Record, d door, err error) error {
	if d.count || len(batch) > 1 {
		return err
	}
	s.log.Error("spool: a record is lost, since it is longer than this spool can ever take", "class", s.opts.Class, "err", err)
	s.ledger.Lost[segment.FrameTooLong].Add(segment.Loss{Records: 1, Bytes: uint64(len(batch[0].Data))})
	s.noteLedger()
	return rejected{err}
}

// admit waits until there is room for a batch, on the disk and in memory.
func (s *Spool) admit(ctx context.Context, size int64, tally segment.Tally, d door) error {
	came := s.lastCalls
	if size > s.opts.MemoryBytes {
		s.cover(size)
		s.oversize++ // it needs an empty queue, which nobody may keep filling meanwhile
		defer func() {
			s.oversize--
			s.room.wakeAll()
		}()
	}
	for {
		switch {
		case s.closed, s.shut:
			return ErrClosed
		case s.failed != nil && !s.noSpace && d.wait:
			return s.failed
		case s.called(came, size, d):
			if s.cover(s.tail.inUse + size) {
				continue
			}
			s.overdraw(size)
			return nil
		case d.last:
			return ErrFull
		case !s.hasRoom(size):
			s.fullness.met = true
			if !s.full {
				s.full = true
				s.cat.changed()
			}
			if s.opts.OnFull == Reject {
				s.reject(tally, d)
				return rejected{ErrFull}
			}
			s.blocked.begin()
			err := s.park(ctx, &s.room, noMark)
			s.blocked.end()
			if err != nil && !s.called(came, size, d) {
				return fmt.Errorf("%w: %w", ErrFull, err)
			}
		case s.tail.fits(size, s.opts.MemoryBytes) && (s.oversize == 0 || size > s.opts.MemoryBytes):
			return nil
		default:
			// Memory comes back when the oldest part of it is on the disk; on a failing one, when that recovers.
			if s.failed == nil {
				s.urgent = true
				wake(s.kick)
			}
			if err := s.park(ctx, &s.room, noMark); err != nil && !s.called(came, size, d) {
				return err
			}
		}
	}
}

// reject counts a batch that met a full spool under the policy Reject.
func (s *Spool) reject(tally segment.Tally, d door) {
	if d.count {
		s.ledger.Received.Add(tally)
	}
	s.ledger.Lost[segment.SpoolFull].Add(segment.Loss{Records: tally.Records, Bytes: tally.Bytes})
	s.noteLedger()
}

// arm makes sure that the flusher writes what was taken.
func (s *Spool) arm() {
	if s.pendingSince.IsZero() && s.written < s.taken {
		s.pendingSince = time.Now()
		wake(s.kick)
	}
}

// wake leaves a token for a goroutine that looks for work.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
