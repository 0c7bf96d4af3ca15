package spool

import (
	"time"

	"github.com/penstock-go/penstock/internal/hist"
	"github.com/penstock-go/penstock/spool/internal/fatal"
	"github.com/penstock-go/penstock/spool/segment"
)

// journal is the write path: it takes batches into memory, writes them to the active segment, makes them durable, and seals
// the segments that have ended. A segment that is sealed goes to the shelf.
//
// # Guards
//
// mu guards every field below it that does not say otherwise. The writer role owns active (apart from its fields that say
// otherwise), spans and witness notes of the active segment: only its holder replaces active, and does so with mu held too.
// Signals to goroutines (kick, syncKick, relay) need no guard. No file is touched while mu is held.
//
// # Invariants
//
// taken ≥ written ≥ durable. Everything between the synced position of the queue and its end is in memory, so that whatever
// a failed file has lost can be written again. rolled holds segments in the order of their numbers, all of them below active.
type journal struct {
	*site
	space   *space
	damages *damages
	reads   *refusedReads
	shelf   journalShelf

	mu fatal.Mutex

	doors
	marks
	books
	fault
	pace
	grouping

	tail    queue
	active  *active   // the segment being written, nil if the next block begins one
	left    int64     // bytes in active that are not written yet
	spans   []span    // of the writer, which uses it again
	rolled  []*rolled // ended segments that wait for their footer
	sealing waitList
	begun   time.Time // when the latest segment began, or may begin at the earliest

	writer role // writes the tail to the log
	syncer role // makes it durable
	idle   []*waiter

	times   *timings
	witness witness // has a lock of its own
	lifeBudget
}

// journalShelf is what the journal asks of the shelf.
type journalShelf interface {
	// put adds a segment that was sealed. It is called with journal.mu held, so that the segment is in one half at any time.
	put(seg *sealed)
	// remember puts segments into the index.
	remember(segs ...*sealed)
	// recordBytes adds up the files that records need: one for each sealed segment.
	recordBytes() int64
}

// doors is whether batches are let in, and who waits. journal.mu guards it.
type doors struct {
	closed    bool
	shut      bool // nothing is let in any more
	full      bool // somebody found no room since there was more
	fullness  fullness
	lastCalls uint64 // how often LastCall came
	oversize  int    // batches above the memory budget that wait for an empty queue: until they are in, nothing else is
	room      waitList
	blocked   blockedTimes
}

// marks are places in the log. journal.mu guards them. taken ≥ written ≥ durable.
type marks struct {
	taken uint64 // last sequence number given
	// accepted is when it was given, 0 if not by this process.
	accepted hist.Start
	found    uint64 // taken, when the spool was opened; fixed
	written  uint64
	durable  uint64
	// The same in the log as it is being written; after a failure place goes back to placed.
	place  place // at tail.written
	placed place // at tail.synced
	// sealedEnd is the end of the last sealed segment.
	sealedEnd place
}

// books is the ledger, and how much of it the log has. journal.mu guards it.
type books struct {
	ledger      segment.Ledger // Kept is what was written at least once
	ledgerDirty bool           // since the last one in the log
	ledgerTime  time.Time      // of the last one in the log
	lastEnd     segment.Ledger // at the end of the segment before the active one
}

// fault is why nothing can be written now. journal.mu guards it.
type fault struct {
	failed  error
	noSpace bool // the reason is a full disk
	retryAt time.Time
}

// pace is what the flusher and the background sync go by. journal.mu guards the times and counts.
type pace struct {
	urgent       bool      // somebody waits for memory
	pendingSince time.Time // since when records wait that only the flusher will write
	dirtySince   time.Time // since when written bytes wait for their sync
	unsynced     int64     // bytes written since the last sync
	kick         chan struct{}
	syncKick     chan struct{}
}

// newJournal returns a journal whose log has not been read yet.
func newJournal(at *site, sp *space, d *damages, r *refusedReads) *journal {
	j := &journal{site: at, space: sp, damages: d, reads: r, times: newTimings(), pace: pace{kick: make(chan struct{}, 1), syncKick: make(chan struct{}, 1)}, grouping: grouping{relay: make(chan struct{}, 1)}}
	j.tail.chunkSize = int(min(1<<20, max(128<<10, at.opts.MemoryBytes/16)))
	j.writer.work, j.syncer.work = j.write, j.commit
	return j
}

// drop closes the files of a journal that could not be opened.
func (j *journal) drop() {
	if j.active != nil {
		_ = j.active.file.Close()
	}
	j.witness.close()
}

// journalState is what the journal says of itself.
type journalState struct {
	taken, written, durable uint64
	pending                 segment.Tally // in memory and not written
	again                   segment.Tally // of these, what was written before to a file that has failed
	unsealed                segment.Tally // behind the last sealed segment
	oldest                  time.Time     // when the first segment of that began, zero if none has
	memory                  int64         // that the queue takes
	last                    time.Time     // see Stats.LastAppend
	full                    bool
	failed                  error
}

// look calls fn with the state of the journal, and keeps the journal as it is meanwhile: no segment goes to the shelf.
func (j *journal) look(fn func(journalState)) {
	j.mu.Lock()
	defer j.mu.Unlock()
	failed := j.failed
	if failed == nil && j.closed {
		failed = ErrClosed
	}
	fn(journalState{
		taken: j.taken, written: j.written, durable: j.durable,
		pending:  j.tail.pending(),
		again:    segment.Tally{Records: j.ledger.Kept.Records - j.place.seq, Bytes: j.ledger.Kept.Bytes - j.place.bytes},
		unsealed: j.unsealed(),
		full:     j.full || !j.hasRoom(0), failed: failed,
		oldest: j.oldest(), memory: j.tail.inUse, last: j.lastAppend(),
	})
}

// oldest returns when the first segment began that is not sealed, zero if there is none. j.mu is held.
func (j *journal) oldest() time.Time {
	switch {
	case len(j.rolled) > 0:
		return j.rolled[0].header.Created
	case j.active != nil:
		return j.active.header.Created
	}
	return time.Time{}
}

// lastAppend returns when the newest batch was taken. j.mu is held.
func (j *journal) lastAppend() time.Time {
	if j.accepted == 0 {
		return time.Time{}
	}
	return time.Now().Add(-j.accepted.Time())
}

// unsealed counts what the log holds behind the last sealed segment. j.mu is held, or the spool is being opened.
func (j *journal) unsealed() segment.Tally {
	kept := j.ledger.Kept
	return segment.Tally{Records: kept.Records - j.sealedEnd.seq, Bytes: kept.Bytes - j.sealedEnd.bytes}
}
