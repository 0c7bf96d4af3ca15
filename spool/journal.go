package spool

import (
	"time"

	"github.com/penstock-go/penstock/internal/hist"
	"github.com/penstock-go/penstock/spool/internal/fatal"
	"github.com/penstock-go/penstock/spool/segment"
)

// journal is the write path: it accepts batches into memory, writes them to the active segment, makes them durable, and seals
// segments. A sealed segment is passed to the shelf.
//
// # Guards
//
// mu guards every field below it that does not say otherwise. The writer role owns active (apart from its fields that say
// otherwise), spans, and the witness notes of the active segment. Only its holder replaces active, and holds mu while it does.
// Signals to goroutines (kick, syncKick, relay) need no guard. No file is accessed while mu is held.
//
// # Invariants
//
// taken ≥ written ≥ durable. All records between the synced position of the queue and its end are in memory, so that those
// that a failed file has lost can be written again. rolled holds segments in the order of their numbers, all of them below active.
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
	left    int64     // free bytes in active
	spans   []span    // a buffer that the writer reuses
	rolled  []*rolled // ended segments that wait for their footer
	sealing waitList
	begun   time.Time // when the latest segment was created, or the earliest time at which the next one may be

	writer role // writes the tail to the log
	syncer role // makes it durable
	idle   []*waiter

	times   *timings
	witness witness // has a lock of its own
	lifeBudget
}

// journalShelf has the methods of the shelf that the journal calls.
type journalShelf interface {
	// put adds a sealed segment. It is called with journal.mu held, so that the segment is always in exactly one half.
	put(seg *sealed)
	// remember puts segments into the index.
	remember(segs ...*sealed)
	// recordBytes returns the total size of the files that hold the records, one file for each sealed segment.
	recordBytes() int64
}

// doors says whether batches are accepted, and which callers wait. journal.mu guards it.
type doors struct {
	closed    bool
	shut      bool // no batch is accepted any more: see Shelf.Shut
	full      bool // an append has found no room since room was last freed
	fullness  fullness
	lastCalls uint64 // how often LastCall was called
	oversize  int    // batches above the memory budget that wait for an empty queue: no other batch is accepted before them
	room      waitList
	blocked   blockedTimes
}

// marks are places in the log. journal.mu guards them. taken ≥ written ≥ durable.
type marks struct {
	taken uint64 // last sequence number assigned
	// accepted is when this process assigned it, 0 if an earlier process has.
	accepted hist.Start
	found    uint64 // taken, when the spool was opened; fixed
	written  uint64
	durable  uint64
	// Places in the log as it is being written; after a failure place goes back to placed.
	place  place // at tail.written
	placed place // at tail.synced
	// sealedEnd is the end of the last sealed segment.
	sealedEnd place
}

// books is the ledger, and how much of it the log has. journal.mu guards it.
type books struct {
	ledger      segment.Ledger // Kept counts every record once, even if it was written twice
	ledgerDirty bool           // ledger has changed since the last one in the log
	ledgerTime  time.Time      // of the last one in the log
	lastEnd     segment.Ledger // at the end of the segment before the active one
}

// fault is the reason why nothing can be written now. journal.mu guards it.
type fault struct {
	failed  error
	noSpace bool // the reason is a full disk
	retryAt time.Time
}

// pace determines when the flusher and the background sync act. journal.mu guards the times and counts.
type pace struct {
	urgent       bool      // an append waits for memory
	pendingSince time.Time // since when there are records that only the flusher will write
	dirtySince   time.Time // since when there are written bytes that are not synced
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

// journalState is a snapshot of the journal.
type journalState struct {
	taken, written, durable uint64
	pending                 segment.Tally // in memory and not written
	again                   segment.Tally // of pending, the records that were written before to a file that has failed
	unsealed                segment.Tally // in the log after the last sealed segment
	oldest                  time.Time     // when the first unsealed segment was created, zero if there is none
	memory                  int64         // used by the queue
	last                    time.Time     // see Stats.LastAppend
	full                    bool
	failed                  error
}

// look calls fn with the state of the journal. The journal does not change meanwhile: no segment is passed to the shelf.
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

// oldest returns when the first unsealed segment was created, zero if there is none. j.mu is held.
func (j *journal) oldest() time.Time {
	switch {
	case len(j.rolled) > 0:
		return j.rolled[0].header.Created
	case j.active != nil:
		return j.active.header.Created
	}
	return time.Time{}
}

// lastAppend returns when the newest batch was accepted. j.mu is held.
func (j *journal) lastAppend() time.Time {
	if j.accepted == 0 {
		return time.Time{}
	}
	return time.Now().Add(-j.accepted.Time())
}

// unsealed counts the records in the log after the last sealed segment. j.mu is held, or the spool is being opened.
func (j *journal) unsealed() segment.Tally {
	kept := j.ledger.Kept
	return segment.Tally{Records: kept.Records - j.sealedEnd.seq, Bytes: kept.Bytes - j.sealedEnd.bytes}
}
