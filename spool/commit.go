package spool

import (
	"errors"
	"log/slog"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// ledgerEvery is the shortest time between two ledger blocks.
	ledgerEvery = time.Second
	// syncNoneBytes is the number of written bytes after which SyncNone syncs in the background. Unsynced records have to stay in
	// memory, so that they can be written again if the sync fails.
	syncNoneBytes = 8 << 20
)

// write is the writer's work: it writes all accepted records to the log. If the disk refuses, it tries once more in
// a new segment; if that fails too, appends are refused until a later attempt succeeds. The caller has the writer role.
func (j *journal) write() {
	err := j.writeTail(false)
	if err != nil {
		j.mu.Lock()
		told := j.failed != nil // while the disk stays full, the spool retries each second
		j.mu.Unlock()
		if !told {
			j.logAgain(slog.LevelError, "spool: write failed; continuing in a new segment, with the same records, so nothing is lost: see what the disk reports", "err", err)
		}
		err = j.writeTail(false)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		j.fail(err)
	}
}

// writeTail writes the queue from the written position to its end. It adds a ledger block if the ledger has changed, and
// the last one is old enough or ledger is set. The caller has the writer role.
//
// The lock is held while the blocks to write are listed, not while they are stamped and written: meanwhile Append and Offer can fill
// the queue.
func (j *journal) writeTail(ledger bool) error {
	j.mu.Lock()
	j.retire()
	now := time.Now()
	// The ledger is queued after the records that it counts: if the ledger can be read in the log, so can they.
	if j.ledgerDirty && j.source == nil && (ledger || j.failed == nil && now.Sub(j.ledgerTime) >= ledgerEvery) {
		j.tailLedger(now)
	}
	spans, end := j.tail.collect(j.spans[:0])
	w := batchWriter{j: j, place: j.place, synced: j.syncedOffset()}
	j.pendingSince = time.Time{}
	j.mu.Unlock()
	j.spans = spans

	for _, sp := range spans {
		w.span = sp
		for i := range sp.blocks {
			if err := w.block(i); err != nil {
				return err
			}
		}
		if err := w.flush(len(sp.blocks)); err != nil {
			return err
		}
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(spans) > 0 {
		j.progress(w.place, end) // the last flush has done this already, unless the last chunk is empty
	}
	return nil
}

// batchWriter assigns blocks to offsets in segments and writes them, as many as possible with one call. Blocks get their
// headers only here, with their offsets. So the same blocks can be written again, elsewhere, after a failure.
type batchWriter struct {
	j      *journal
	span   span
	start  int   // start, in the chunk, of the run of blocks that are stamped and not yet written
	end    int   // end of that run
	at     int64 // the file offset of that run
	place  place
	synced int64 // in the active segment
}

// block stamps block i of the span for the next offset in the log.
func (w *batchWriter) block(i int) error {
	b := &w.span.blocks[i]
	j := w.j
	a := j.active // only the writer changes it
	// A block is never split: if it does not fit, all of it is written to the next segment.
	if a != nil && !a.fits(b.len, j.opts.SegmentBytes) {
		if err := w.flush(i); err != nil {
			return err
		}
		if err := j.roll(); err != nil {
			return err
		}
		a = nil
	}
	if a == nil {
		if err := j.activate(b.first); err != nil {
			return err
		}
		a, w.synced = j.active, 0
	}
	if b.off != w.end || w.start == w.end {
		// The slack of an earlier commit is in between.
		if err := w.flush(i); err != nil {
			return err
		}
		w.start, w.end, w.at = b.off, b.off, a.off
	}
	block := w.span.buf[b.off : b.off+b.len]
	segment.Stamp(block, segment.BlockHeader{
		Generation: a.generation, Offset: a.off, First: b.first, Count: b.count, Durable: uint32(w.synced), Type: b.kind,
	})
	a.builder.Add(a.off, block)
	n := segment.Align(b.len)
	a.off += int64(n)
	w.end += n
	w.place = place{b.next() - 1, w.place.bytes + b.bytes}
	if b.slack {
		return w.flush(i + 1)
	}
	return nil
}

// flush writes the stamped run, which ends before block i of the span.
func (w *batchWriter) flush(i int) error {
	if w.start == w.end {
		return nil
	}
	j, a := w.j, w.j.active
	end := w.end
	if w.span.blocks[i-1].slack {
		end += int(-(w.at + int64(end-w.start)) & (writeSlack - 1)) // up to the next page boundary: see writeSlack
	}
	_, err := a.file.WriteAt(w.span.buf[w.start:end], w.at)
	w.start, w.end = 0, 0
	if err != nil {
		// The builder has counted these blocks, so no footer may be built with it: see sealCopy.
		a.latch(err)
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if a.late != nil {
		if w.place.seq < j.written {
			return nil // progress is published only when this file has all records that another file has
		}
		j.mu.Unlock()
		err := j.head(a)
		j.mu.Lock()
		if err != nil {
			return err
		}
	}
	j.progress(w.place, position{w.span.number, w.span.from + i})
	return nil
}

// progress publishes that the log holds everything up to a position, so that these records survive the process. j.mu is held.
func (j *journal) progress(at place, p position) {
	if !j.tail.written.before(p) {
		return
	}
	n := j.tail.advance(p)
	j.place = at
	j.left = max(0, j.left-n)
	j.unsynced += n
	if j.active != nil {
		j.active.written, j.active.promised = j.active.off, at.seq
	}
	// Records that are written again after a failure were kept before, and are counted once.
	if at.seq > j.written {
		j.hooks.noteKept(place{j.written, j.ledger.Kept.Bytes}, at)
		j.written = at.seq
		j.ledger.Kept = at.tally()
	}
	j.writer.waiting.wake(j.written)
	// Under SyncAlways a waiting caller or the relay syncs, so no other goroutine is woken.
	switch {
	case j.opts.Sync == SyncNone && j.unsynced >= syncNoneBytes:
		wake(j.syncKick)
	case j.opts.Sync == SyncInterval && j.dirtySince.IsZero():
		j.dirtySince = time.Now()
		wake(j.kick)
	}
}

// sync makes the written records durable. It does not block writers: if a write had to wait for an fdatasync of
// half a second, sockets would overflow. The caller has the syncer role.
//
// If the sync fails, the unsynced records are written again, once, to another file. If that file cannot be synced either,
// the fault is the disk's, and appends are refused.
func (j *journal) sync() {
	for failures := 0; ; {
		j.mu.Lock()
		a := j.active
		if a == nil || j.tail.synced == j.tail.written {
			if j.tail.synced == j.tail.tailPosition() {
				j.writable()
			}
			j.mu.Unlock()
			return
		}
		m := j.mark()
		j.mu.Unlock()

		j.syncBegun()
		err := a.sync()
		if errors.Is(err, errEnded) {
			continue // the segment was rolled meanwhile, and roll syncs it
		}
		j.mu.Lock()
		if err == nil {
			// If a writer has since found that the file has failed, this success does not mean that the disk works.
			if m.active == j.active {
				j.advance(m)
				j.writable()
			}
			j.mu.Unlock()
			j.touchDurable(m)
			return
		}
		j.mu.Unlock()
		// After a failed sync nothing written to this file since its last sync can be assumed to be on the disk. Write it elsewhere.
		j.logAgain(slog.LevelError, "spool: sync failed; writing the unsynced records again to a new segment, so nothing is lost: replace a disk that reports this more than once", "err", err)
		j.writeOut()
		if failures++; failures == 2 {
			j.mu.Lock()
			j.fail(err)
			j.mu.Unlock()
			return
		}
	}
}

// writeOut is write for a caller that does not have the writer role.
func (j *journal) writeOut() {
	j.mu.Lock()
	j.acquire(&j.writer)
	j.mu.Unlock()
	j.write()
	j.mu.Lock()
	j.release(&j.writer)
	j.mu.Unlock()
}

// place is a point in the log. Sequence numbers begin at 1 and have no gaps, so seq is also the number of records up to the
// point.
type place struct {
	seq   uint64
	bytes uint64 // payload
}

func (p place) tally() segment.Tally { return segment.Tally{Records: p.seq, Bytes: p.bytes} }

// mark is a point in the log up to which everything is written.
type mark struct {
	active *active
	offset int64
	pos    position
	place  place
}

// mark returns the current mark, and resets the count of unsynced bytes. There is an active segment; j.mu is held.
func (j *journal) mark() mark {
	j.dirtySince, j.unsynced = time.Time{}, 0
	return mark{active: j.active, offset: j.active.written, pos: j.tail.written, place: j.place}
}

// advance publishes that everything up to a mark is on stable storage. It ignores a mark in a segment that has ended meanwhile:
// either the segment was rolled, which has synced it, or its file failed, and the records after its last good sync are being
// written again. j.mu is held.
func (j *journal) advance(m mark) {
	if m.active != j.active || !j.tail.synced.before(m.pos) {
		return
	}
	j.placed = m.place
	before := j.durable
	j.durable = max(j.durable, m.place.seq)
	m.active.synced = max(m.active.synced, m.offset)
	j.tail.release(m.pos)
	waited := len(j.syncer.waiting.parked)
	j.grouped(j.syncer.waiting.wake(j.durable), waited, j.durable-before)
	j.room.wakeAll()
}

// syncedOffset returns the offset below which the active segment is durable. j.mu is held.
func (j *journal) syncedOffset() int64 {
	if j.active == nil {
		return 0
	}
	return j.active.synced
}
