package spool

import (
	"context"
	"io"
	"sync"

	"github.com/penstock-go/penstock/spool/segment"
)

// Spool is a crash-safe log of records. All methods may be called from any goroutine.
//
// It has two halves. The journal holds every record from Append until the record is durable and its segment is sealed. The shelf
// holds the sealed segments until every destination has them. Both use the site, which does not change while the spool is open,
// the space, which accounts for the disk space of the directory, and the record of damages. The journal calls the shelf only
// through the interface journalShelf. The shelf calls the journal, but never while it holds a lock of its own.
type Spool struct {
	// Locks.
	//
	// A goroutine that holds one of these may acquire those to the right of it, and never one to the left:
	//
	//	destination.mu → Shelf.naming → Shelf.pruning → damages.mu → journal.mu → Shelf.mu → catalogue.mu, space.mu, and the rest
	//
	// "The rest" are locks that guard one small type and under which nothing else is locked: refusedReads.mu, flights.mu,
	// litter.mu, witness.mu and the Signal of changes. Files may be accessed under destination.mu (the files of its chain),
	// Shelf.pruning, damages.mu and witness.mu (their own small files), active.mu (the segment's one running sync) and
	// Shelf.tight, but never under journal.mu, Shelf.mu, catalogue.mu or space.mu.
	//
	// The journal also has two roles, each held by one goroutine at a time: the writer writes the queue to the log, the syncer
	// makes it durable. A goroutine that needs both takes the syncer first, and holds no lock while it waits for a role. The relay
	// may hold the syncer for others. The goroutine that writes the mark of this process needs neither of them: see cover.

	*site
	space   *space
	damages *damages
	journal *journal
	shelf   *Shelf

	lock    io.Closer
	stop    context.CancelFunc // ends the goroutines
	running sync.WaitGroup     // the spool's own goroutines

	closeOnce sync.Once
	closeErr  error
}

// Append returns nil once the batch is kept (see SyncPolicy), with the sequence number of its last record. A batch is
// accepted as a whole or not at all, its numbers are consecutive, and the spool copies the records.
//
// An error with last = 0 means that nothing was accepted; the caller may offer the batch again. An error with last > 0 (a context
// that ended, ErrFailing) means that the batch was accepted but is not kept yet: the spool writes it as soon as the disk allows.
// Offering it again would duplicate it.
//
// While the quota or the disk is used up, Append waits (Block) or returns ErrFull (Reject). Cancelling ctx ends a wait for space
// or for another caller's commit. A caller that is itself committing finishes the commit first.
func (s *Spool) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return s.journal.accept(ctx, batch, door{count: true, wait: true})
}

// Offer copies the batch into memory and returns. It waits only while the memory budget is used up, or while the quota is used
// up under the policy Block. The records it accepted are received, not yet kept: they are written at the latest after
// Options.SyncInterval. An error means that nothing was accepted.
func (s *Spool) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return s.journal.accept(ctx, batch, door{count: true})
}

// TryOffer is Offer for callers that must not wait. Where Offer would wait, TryOffer accepts nothing and returns an error that
// wraps ErrFull. The caller can offer the records again later, or drop them without the ledger counting them. The exception is a
// used-up quota under the policy Reject: TryOffer then counts the records as received and lost, as Offer does, the error has a
// method Rejected() bool, and the records must not be offered again.
func (s *Spool) TryOffer(batch []segment.Record) (last uint64, err error) {
	return s.journal.accept(context.Background(), batch, door{count: true, try: true})
}

// WaitDurable returns nil once every record up to seq is on stable storage. If no sync is running, it begins one without waiting
// for Options.SyncInterval. While the disk is failing it returns ErrFailing at once; call it again later.
func (s *Spool) WaitDurable(ctx context.Context, seq uint64) error {
	return s.journal.waitDurable(ctx, seq)
}

// Seal writes and syncs everything accepted so far, and seals the active segment if it holds records or ledger changes. It
// returns once Shelf.Sealed lists the segment.
func (s *Spool) Seal(ctx context.Context) error { return s.journal.seal(ctx) }

// Ledger returns the counters as of now.
func (s *Spool) Ledger() segment.Ledger { return s.journal.snapshot() }

// Dir returns the directory of the spool: the one passed to Open or, for an adopted spool, the adopter's own directory.
func (s *Spool) Dir() string { return s.dir }

// Shelf returns the half of the spool that delivers sealed segments. Programs that only append do not need it.
func (s *Spool) Shelf() *Shelf { return s.shelf }

// Intake returns an Intake of the spool, for a listener that counts received records itself and reports them by Account.
func (s *Spool) Intake() *Intake { return &Intake{s.journal} }

// Intake is what listeners write to: see Spool.Intake.
type Intake struct{ j *journal }

// Append is Spool.Append, without counting the records as received.
func (i *Intake) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return i.j.accept(ctx, batch, door{wait: true})
}

// Offer is Spool.Offer, without counting the records as received.
func (i *Intake) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return i.j.accept(ctx, batch, door{})
}

// TryOffer is Spool.TryOffer, without counting the records as received. An ingest.Route calls it.
func (i *Intake) TryOffer(batch []segment.Record) (last uint64, err error) {
	return i.j.accept(context.Background(), batch, door{try: true})
}

// Keep accepts records that a closed listener still holds, even over the quota and the memory budget, as long as the disk has
// room beyond the reserve (see Shelf.LastCall). It does not wait. Accepted records are received, not yet kept, as with Offer; an
// error means that nothing was accepted.
func (i *Intake) Keep(batch []segment.Record) (last uint64, err error) {
	return i.j.accept(context.Background(), batch, door{last: true})
}

// WaitDurable is Spool.WaitDurable.
func (i *Intake) WaitDurable(ctx context.Context, seq uint64) error { return i.j.waitDurable(ctx, seq) }

// Account adds a listener's counts to the ledger.
//
// Datagrams that the kernel dropped while the listener waited for room in the spool are counted as spool_full, their true cause.
func (i *Intake) Account(a segment.Account) { i.j.account(a) }
