package spool

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/spool/internal/fatal"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// Shelf is the half of a spool that holds the sealed segments. Package ship, which delivers them, and package drain use it. A
// program that embeds a spool does not need it, and its methods may change in any version before 1.0.
//
// [Shelf.Sealed] lists a segment, and [Shelf.Stage] encodes it into the file that will be the object, and fixes key
// and bytes permanently. [Shelf.Propose] and [Shelf.Ack] keep, for each destination, the state of its chain of manifests
// ([Chain]). Segments that every chain covers are deleted, unless [Shelf.Freeze] forbids it.
type Shelf struct {
	// mu guards the fields below it, and chain and delivered of every destination. pruning is held while segments are deleted, and
	// guards deleted and midway. tight is held by the one Stage call that makes room. Small types have locks of their own. While mu
	// is held, no file is accessed and the journal is not called: see Spool for the order of all locks.

	*site
	space   *space
	damages *damages
	reads   *refusedReads
	journal shelfJournal
	doors   doorkeeper
	idx     index.Index

	cat     catalogue
	dests   map[string]*destination // after Open guarded by mu; only Join adds one
	staging flights
	panics  atomic.Uint64 // calls of an Encoder that have panicked
	rests   atomic.Uint64 // see restPath
	naming  chan struct{} // a lock: one change of spool.json at a time
	tight   fatal.Mutex
	pruning fatal.Mutex
	deleted deletion
	midway  bool // prune has not deleted everything yet

	mu     fatal.Mutex
	closed bool
	holds  int
	frozen string               // why nothing is deleted until Thaw; "" if not frozen
	down   map[string]time.Time // see SetDown

	calls fatal.Calls // calls that use files
	life  context.Context
	end   context.CancelFunc // cancels the calls that stage or restore
}

// shelfJournal has the methods of the journal that the shelf calls. Shelf.mu is not held at any of these calls.
type shelfJournal interface {
	// change lets the shelf change the ledger, which belongs to the journal. fn is called with journal.mu held, so that it can
	// change the shelf's own fields at the same moment. It returns whether the ledger must be written to the log because of the
	// change.
	change(fn func(l *segment.Ledger) (write bool))
	// atSealedEnd returns the ledger, with the records that are kept up to the end of the last sealed segment.
	atSealedEnd() *segment.Ledger
	// durableEnd returns the ledger at the durable end of the log, and the last record that was accepted.
	durableEnd() (l *segment.Ledger, through uint64)
	// orphan returns the ledger at the durable end of the log if no file of the journal holds it, otherwise nil.
	orphan() *segment.Ledger
	// promise returns a time before which no segment will be created, if the journal holds no record after through. Otherwise
	// t is when the oldest unsealed segment was created, the zero time if there is none.
	promise(through uint64) (t time.Time, empty bool)
	// sealedThrough returns the last sequence number of the last sealed segment.
	sealedThrough() uint64
	// short reports whether appends find no room, or soon will find none.
	short() bool
}

// doorkeeper has the methods of the journal that a shipper or a drain calls through the shelf.
type doorkeeper interface {
	shutDoors()
	lastCall()
	handOver()
	lastFound() uint64
}

var (
	_ shelfJournal = (*journal)(nil)
	_ doorkeeper   = (*journal)(nil)
)

// newShelf returns a shelf without segments and destinations.
func newShelf(at *site, sp *space, d *damages, r *refusedReads, j shelfJournal, k doorkeeper) *Shelf {
	s := &Shelf{
		site: at, space: sp, damages: d, reads: r, journal: j, doors: k, idx: index.None{}, cat: catalogue{changed: &at.changed},
		dests: map[string]*destination{}, naming: make(chan struct{}, 1),
	}
	s.life, s.end = context.WithCancel(context.Background())
	return s
}

var _ journalShelf = (*Shelf)(nil)

// put implements journalShelf.
func (s *Shelf) put(seg *sealed) { s.cat.put(seg) }

// recordBytes implements journalShelf.
func (s *Shelf) recordBytes() int64 { return s.cat.recordBytes() }

// The calls that concern the journal: a shipper or a drain needs them, an embedder does not.

// LastAtOpen returns the last sequence number that was found when the spool was opened. A copy of its volume that was made
// before then has no record above this number in common with this spool.
func (s *Shelf) LastAtOpen() uint64 { return s.doors.lastFound() }

// Shut makes Append and Offer return ErrClosed from now on, and has no other effect. When it returns, Stats and Ledger show
// every accepted record, so that a final manifest can be written: no record is accepted after it.
func (s *Shelf) Shut() { s.doors.shutDoors() }

// LastCall is for a process that is about to end: the records that its listeners have read, or that a peer's kernel counts as
// delivered, must find room even in a full spool.
//
// From the first call on, appends may use half of the reserve for staging; the other half lets one segment at a time be
// staged. Each call also admits every Append and Offer that waits at that moment, even over the quota and the memory
// budget, as long as the disk has room beyond the reserve. That is at most one batch for each goroutine that appends: for
// a listener, one for each connection or socket. Call it before the listeners close; records that they still hold when there is
// no more time to wait are added by Intake.Keep.
func (s *Shelf) LastCall() { s.doors.lastCall() }

// HandOver declares that the next Close is for a successor, which already receives into memory (ingest.Hold) and
// opens the spool with Options.Successor. If the successor dies before that, the next Open reports what it may have held.
func (s *Shelf) HandOver() { s.doors.handOver() }

// Damages lists the recorded damage, by segment. Damage that the operator has given up is listed until its segment is deleted.
func (s *Shelf) Damages() []Damage { return s.damages.list() }

// admit counts a call that uses files, so that Close waits for it; ErrClosed after Close.
func (s *Shelf) admit() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	s.calls.Add()
	return nil
}

// refuse makes admit return ErrClosed from now on.
func (s *Shelf) refuse() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
}

// untilClosed returns ctx for a call that stages or restores: it also ends when the spool is closed. The caller calls done at the end.
func (s *Shelf) untilClosed(ctx context.Context) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(ErrClosed) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

// endCalls ends the calls that stage or restore, and waits for all calls that use files.
func (s *Shelf) endCalls() {
	s.end()
	s.calls.Wait()
}
