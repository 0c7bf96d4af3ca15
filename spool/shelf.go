package spool

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/spool/internal/fatal"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// Shelf is the half of a spool that has the sealed segments: it is the protocol of package ship, which delivers them, and of
// package drain. A program that embeds a spool does not need it, and its methods may change in any version before 1.0.
//
// The way of a segment: [Shelf.Sealed] lists it, [Shelf.Stage] encodes it into the file that will be the object, and fixes key
// and bytes permanently. [Shelf.Propose] and [Shelf.Ack] keep, for each destination, the state of its chain of manifests
// ([Chain]). Segments that every chain covers are deleted, unless [Shelf.Freeze] forbids it.
type Shelf struct {
	// mu guards the fields below it, and chain and delivered of every destination. pruning is held while segments are deleted, and
	// guards deleted and midway. tight is held by the one Stage call that makes room. Small types have locks of their own. No file is
	// touched while mu is held, and the journal is not called: see Spool for the order of all locks.

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
	midway  bool // prune has more to delete

	mu     fatal.Mutex
	closed bool
	holds  int
	frozen string               // why nothing is deleted until Thaw; "" for not at all
	down   map[string]time.Time // see SetDown

	calls fatal.Calls // calls that use files
	life  context.Context
	end   context.CancelFunc // ends calls that are under way
}

// shelfJournal is what the shelf asks of the journal. Shelf.mu is not held at any of these calls.
type shelfJournal interface {
	// change lets the shelf change the ledger, which the journal has. fn is called with journal.mu held, so that it can change
	// the shelf's own account at the same moment. It returns whether the change is reason enough to write a ledger to the log.
	change(fn func(l *segment.Ledger) (write bool))
	// atSealedEnd returns the ledger, with the records that are kept up to the end of the last sealed segment.
	atSealedEnd() *segment.Ledger
	// durableEnd returns the ledger at the durable end of the log, and the last record that was taken.
	durableEnd() (l *segment.Ledger, through uint64)
	// orphan returns the ledger at the durable end of the log if no file of the journal holds it, otherwise nil.
	orphan() *segment.Ledger
	// promise returns a time before which no segment will begin, if the journal holds nothing behind the record through. Otherwise
	// t is when the oldest segment began that is not sealed, the zero time if there is none.
	promise(through uint64) (t time.Time, empty bool)
	// sealedThrough returns the last sequence number of the last sealed segment.
	sealedThrough() uint64
	// short reports whether appends find no room, or soon will.
	short() bool
}

// doorkeeper is what a shipper or a drain asks of the journal's doors, by way of the shelf.
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
// before has no record in common with this spool beyond it.
func (s *Shelf) LastAtOpen() uint64 { return s.doors.lastFound() }

// Shut closes the two doors permanently, and nothing else: Append and Offer return ErrClosed. What they have taken shows in
// Stats and Ledger when it returns, so that a final manifest can be written: no record is kept after it.
func (s *Shelf) Shut() { s.doors.shutDoors() }

// LastCall is for a process that ends: what its listeners have read, and what a peer's kernel counts as delivered, has to
// find room even in a full spool.
//
// From the first call on, appends may use half of what is reserved for staging; the other half keeps one segment at a time
// going. And each call lets in every Append and Offer that waits at that moment, even over the quota and the memory
// budget, as long as the disk has room beyond the reserve. That is at most one batch for each goroutine that appends: for
// a listener, one for each connection or socket. Call it before the listeners close; what they have in hand when there is
// no more time to wait comes by Intake.Keep.
func (s *Shelf) LastCall() { s.doors.lastCall() }

// HandOver makes the Close that follows one in favour of a successor, which receives into memory already (ingest.Hold) and
// opens the spool with Options.Successor. Should it die before that, the next Open reports what it may have held.
func (s *Shelf) HandOver() { s.doors.handOver() }

// Damages lists the damage that is on record, by segment. Damage that the operator has given up is listed as long as its
// segment is here.
func (s *Shelf) Damages() []Damage { return s.damages.list() }

// admit counts a call that uses files, which Close awaits; ErrClosed after Close.
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
