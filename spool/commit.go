package spool

import (
	"errors"
	"runtime"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// ledgerEvery is how often at most a ledger block is written.
	ledgerEvery = time.Second
	// syncNoneBytes is after how many written bytes SyncNone syncs in the background: what is not synced has to stay in
	// memory, so that a failed sync can be made good.
	syncNoneBytes = 8 << 20
)

// write is the writer's work: it writes everything that was taken to the log. When the disk refuses, it goes on once in
// a new segment; when that fails too, appends are refused until a later try succeeds. The caller has the writer role.
func (s *Spool) write() {
	err := s.writeTail(false)
	if err != nil {
		s.mu.Lock()
		told := s.failed != nil // a disk that stays full is tried each second
		s.mu.Unlock()
		if !told {
			s.log.Error("spool: write failed, going on in a new segment", "class", s.opts.Class, "err", err)
		}
		err = s.writeTail(false)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.fail(err)
	}
}

// writeTail writes what lies between the written position and the end of the queue, and with it the ledger, if that has
// changed and the last one is old enough, or if it is asked for. The caller has the writer role.
//
// The lock is held while the blocks to write are listed, not while they are stamped and written: doors go on filling the
// memory behind them.
func (s *Spool) writeTail(ledger bool) error {
	s.mu.Lock()
	s.retire()
	now := time.Now()
	// The ledger goes into the same queue, behind the records it counts: wherever it can be read, they can be too.
	if s.ledgerDirty && s.source == nil && (ledger || s.failed == nil && now.Sub(s.ledgerTime) >= ledgerEvery) {
		s.tailLedger(now)
	}
	spans, end := s.tail.take(s.spans[:0])
	w := batchWriter{s: s, place: s.place, synced: s.syncedOffset()}
	s.pendingSince = time.Time{}
	s.mu.Unlock()
	s.spans = spans

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
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(spans) > 0 {
		s.progress(w.place, end) // at the latest flush, unless the last chunk ended empty
	}
	return nil
}

// batchWriter lays blocks out in segments and writes them, as many as possible with one call. Only now they get their
// place in a file, and with it their headers: the same blocks can be laid out again, elsewhere, after a failure.
type batchWriter struct {
	s      *Spool
	span   span
	start  int   // in the chunk: where the run begins that is stamped and not yet written
	end    int   // and where it ends
	at     int64 // where in the file it goes
	place  place
	synced int64 // in the active segment
}

// block stamps block i of the span, for the place in the log that comes next.
func (w *batchWriter) block(i int) error {
	b := &w.span.blocks[i]
	s := w.s
	a := s.active // only the writer changes it
	// A block is never split: it goes into the next segment whole.
	if a != nil && !a.fits(b.len, s.opts.SegmentBytes) {
		if err := w.flush(i); err != nil {
			return err
		}
		if err := s.roll(); err != nil {
			return err
		}
		a = nil
	}
	if a == nil {
		if err := s.activate(b.first); err != nil {
			return err
		}
		a, w.synced = s.active, 0
	}
	if b.off != w.end || w.start == w.end {
		// A former commit's slack lies between.
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
	s, a := w.s, w.s.active
	end := w.end
	if w.span.blocks[i-1].slack {
		end += int(-(w.at + int64(end-w.start)) & (writeSlack - 1)) // on to the next page: see writeSlack
	}
	_, err := a.file.WriteAt(w.span.buf[w.start:end], w.at)
	w.start, w.end = 0, 0
	if err != nil {
		// The builder has counted these blocks, and no footer will be made with it: see sealCopy.
		a.latch(err)
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if a.late != nil {
		if w.place.seq < s.written {
			return nil // published when everything is there that another file has
		}
		s.mu.Unlock()
		err := s.head(a)
		s.mu.Lock()
		if err != nil {
			return err
		}
	}
	s.progress(w.place, position{w.span.number, w.span.from + i})
	return nil
}

// progress publishes that the log holds everything up to a position: from here on it survives the process. s.mu is held.
func (s *Spool) progress(at place, p position) {
	if !s.tail.written.before(p) {
		return
	}
	n := s.tail.advance(p)
	s.place = at
	s.quota.wrote(n)
	s.unsynced += n
	if s.active != nil {
		s.active.written, s.active.promised = s.active.off, at.seq
	}
	// What is written again after a failure was kept before, and counts once.
	if at.seq > s.written {
		s.written = at.seq
		s.ledger.Kept = at.tally()
	}
	s.writer.waiting.wake(s.written)
	// Under SyncAlways whoever waits syncs; nobody else has to be told.
	switch {
	case s.opts.Sync == SyncNone && s.unsynced >= syncNoneBytes:
		wake(s.syncKick)
	case s.opts.Sync == SyncInterval && s.dirtySince.IsZero():
		s.dirtySince = time.Now()
		wake(s.kick)
	}
}

// commit is the syncer's work: write everything, then make it durable. One sync serves all who came before it began;
// those who come while it runs are served by the next. The caller has the syncer role.
func (s *Spool) commit() {
	s.gather()
	s.writeOut()
	s.sync()
}

// gather lets those whom the last sync served come back with their next batch, before the first of them begins a sync
// for itself alone: else groups of one and of all the others would take turns, at half the speed.
func (s *Spool) gather() {
	for range gatherTries {
		s.mu.Lock()
		there := len(s.syncer.waiting.parked) >= s.group
		s.mu.Unlock()
		if there {
			return
		}
		runtime.Gosched()
	}
}

// gatherTries bounds the wait: a few microseconds for those who do not come back.
const gatherTries = 8

// sync makes what is written durable, without keeping others from writing: a write that had to wait for an fdatasync that
// takes half a second would let sockets overflow. The caller has the syncer role.
//
// When it fails, what it was to make durable is written again, once, to another file. If that cannot be synced either,
// it is the disk, and appends are refused.
func (s *Spool) sync() {
	var err error
	for range 2 {
		s.mu.Lock()
		a := s.active
		if a == nil || s.tail.synced == s.tail.written {
			if s.tail.synced == s.tail.end() {
				s.recovered()
			}
			s.mu.Unlock()
			return
		}
		m := s.mark()
		s.mu.Unlock()

		s.syncBegun()
		if err = a.sync(); err == nil {
			s.mu.Lock()
			s.advance(m)
			s.recovered()
			s.mu.Unlock()
			s.touchDurable(m)
			return
		}
		if errors.Is(err, errEnded) {
			err = nil // the segment was rolled meanwhile, which syncs it
			continue
		}
		// Nothing that this file was given since its last sync may be believed to be on the disk. Write it elsewhere.
		s.log.Error("spool: sync failed, writing again what it was to make durable", "class", s.opts.Class, "err", err)
		s.writeOut()
	}
	if err != nil {
		s.mu.Lock()
		s.fail(err)
		s.mu.Unlock()
	}
}

// writeOut is write for those who do not have the writer role.
func (s *Spool) writeOut() {
	s.mu.Lock()
	s.acquire(&s.writer)
	s.mu.Unlock()
	s.write()
	s.mu.Lock()
	s.release(&s.writer)
	s.mu.Unlock()
}

// place is a point in the log. The log holds every record from number 1 on, so that the number of the last one is their
// count.
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

// mark returns the present one, and begins a new count of what is not synced. There is an active segment; s.mu is held.
func (s *Spool) mark() mark {
	s.dirtySince, s.unsynced = time.Time{}, 0
	return mark{active: s.active, offset: s.active.written, pos: s.tail.written, place: s.place}
}

// advance publishes that everything up to a mark is on stable storage. A mark in a segment that has ended meanwhile is
// too late: it was rolled, and synced by that, or its file failed, and what lies behind its last good sync is being
// written again. s.mu is held.
func (s *Spool) advance(m mark) {
	if m.active != s.active || !s.tail.synced.before(m.pos) {
		return
	}
	s.placed = m.place
	s.durable = max(s.durable, m.place.seq)
	m.active.synced = max(m.active.synced, m.offset)
	s.tail.release(m.pos)
	s.group = s.syncer.waiting.wake(s.durable)
	s.room.wakeAll()
}

// syncedOffset returns below which offset the active segment is durable. s.mu is held.
func (s *Spool) syncedOffset() int64 {
	if s.active == nil {
		return 0
	}
	return s.active.synced
}
