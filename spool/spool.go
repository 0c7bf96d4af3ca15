package spool

import (
	"context"
	"io"
	"sync"

	"github.com/penstock-go/penstock/spool/segment"
)

// Spool is a crash-safe log of records. All methods may be called from any goroutine.
//
// It has two halves. The journal has every record from Append until it is durable and its segment sealed. The shelf has the
// sealed segments until every destination has them. Below both are the site, which does not change while the spool is open,
// the space that the directory takes, and the record of damages. The journal reaches the shelf through the interface
// journalShelf only; the shelf calls the journal, and never while it holds a lock of its own.
type Spool struct {
	// Locks.
	//
	// A goroutine that holds one of these may take those to the right of it, and never one to the left:
	//
	//	destination.mu → Shelf.naming → Shelf.pruning → damages.mu → journal.mu → Shelf.mu → catalogue.mu, space.mu, and the rest
	//
	// "The rest" are locks that guard one small type and under which nothing else is locked: refusedReads.mu, flights.mu,
	// litter.mu, witness.mu and the Signal of changes. Files are touched under destination.mu (the files of its chain),
	// Shelf.pruning, damages.mu and witness.mu (their own small files), active.mu (the one sync of a segment that runs) and
	// Shelf.tight, and never under journal.mu, Shelf.mu, catalogue.mu and space.mu.
	//
	// The journal has two roles besides, each held by one goroutine at a time: the writer writes the queue to the log, the syncer
	// makes it durable. A goroutine takes the syncer first if it needs both, and waits for a role without a lock. The relay may
	// hold the syncer for others. The goroutine that writes the mark of this process needs neither of them: see cover.

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
// taken as a whole or not at all, its numbers follow each other, and the spool copies the records.
//
// An error with last = 0 says that nothing was taken; it may be offered again. An error with last > 0 (a context that
// ended, ErrFailing) says that the batch was taken and is not kept yet: it is written as soon as the disk allows. Offering it
// again would double it.
//
// Cancelling ctx ends a wait for space or for another caller's commit. A caller that is itself committing finishes the commit
// first.
func (s *Spool) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return s.journal.accept(ctx, batch, door{count: true, wait: true})
}

// Offer copies the batch into the memory budget and returns; it waits only while the budget is used up, or the quota is
// and the policy is Block. The records it took are received, not yet kept: they are written at the latest after
// Options.SyncInterval. An error says that nothing was taken.
func (s *Spool) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return s.journal.accept(ctx, batch, door{count: true})
}

// TryOffer is Offer for callers that must not wait: where Offer would, for the quota or for the memory budget, it returns an
// error that wraps ErrFull, and has taken nothing. The caller still has the records, and decides what to do with them: offer
// them again later, or drop them, which the ledger does not know of. Only under Reject, and a quota that is used up, they have
// been counted as received and lost, as by Offer: the error then has a method Rejected() bool, and the records must not be
// offered again.
func (s *Spool) TryOffer(batch []segment.Record) (last uint64, err error) {
	return s.journal.accept(context.Background(), batch, door{count: true, try: true})
}

// WaitDurable returns nil once every record up to seq is on stable storage, and syncs early when its callers are all
// that waits. While the disk is failing it returns ErrFailing at once; call it again later.
func (s *Spool) WaitDurable(ctx context.Context, seq uint64) error {
	return s.journal.waitDurable(ctx, seq)
}

// Seal writes and syncs everything taken so far and seals the active segment, if it holds records or ledger changes. It
// returns once the segment is in Shelf.Sealed.
func (s *Spool) Seal(ctx context.Context) error { return s.journal.seal(ctx) }

// Ledger returns the counters as of now.
func (s *Spool) Ledger() segment.Ledger { return s.journal.snapshot() }

// Dir returns the directory of the spool: the one that Open was given, or the adopter's own one of an adopted spool.
func (s *Spool) Dir() string { return s.dir }

// Shelf returns the half of the spool that delivers: see there. Programs that only append do not need it.
func (s *Spool) Shelf() *Shelf { return s.shelf }

// Intake is the same spool for a listener, which counts received records itself and reports them by Account.
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

// Keep takes what a listener that is closed has in hand: over the quota and the memory budget, as long as the disk has room
// beyond the reserve (see LastCall). It does not wait. The records it took are received, not yet kept, as with Offer;
// with an error nothing was taken.
func (i *Intake) Keep(batch []segment.Record) (last uint64, err error) {
	return i.j.accept(context.Background(), batch, door{last: true})
}

// WaitDurable is Spool.WaitDurable.
func (i *Intake) WaitDurable(ctx context.Context, seq uint64) error { return i.j.waitDurable(ctx, seq) }

// Account adds a listener's counts to the ledger.
//
// Datagrams that the kernel dropped while the listener waited for room in the spool are counted as spool_full: that is their
// cause.
func (i *Intake) Account(a segment.Account) { i.j.account(a) }
