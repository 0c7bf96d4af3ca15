package spool

import (
	"context"
	"io"

	"github.com/penstock-go/penstock/spool/segment"
)

// Spool is a crash-safe log of records. All methods may be called from any goroutine.
type Spool struct{}

// Open opens or creates the spool in dir and recovers what an unclean end left behind.
func Open(dir string, o *Options) (*Spool, error) { panic("skeleton") }

// Append returns nil once the batch is kept (see SyncPolicy), with the sequence number of its last record. A batch is
// taken as a whole or not at all. The spool copies the records.
func (s *Spool) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	panic("skeleton")
}

// Offer copies the batch into the memory budget and returns; it waits only while the budget is used up.
func (s *Spool) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	panic("skeleton")
}

// WaitDurable returns nil once every record up to seq is on stable storage, and syncs early when its callers are all
// that waits.
func (s *Spool) WaitDurable(ctx context.Context, seq uint64) error { panic("skeleton") }

// Intake is the same spool for a listener, which counts received records itself and reports them by Account.
func (s *Spool) Intake() *Intake { panic("skeleton") }

// Intake is what listeners write to: see Spool.Intake.
type Intake struct{ s *Spool }

// Append is Spool.Append, without counting the records as received.
func (i *Intake) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	panic("skeleton")
}

// Offer is Spool.Offer, without counting the records as received.
func (i *Intake) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	panic("skeleton")
}

// Account adds a listener's counts to the ledger.
func (i *Intake) Account(a segment.Account) { panic("skeleton") }

// WaitDurable is Spool.WaitDurable.
func (i *Intake) WaitDurable(ctx context.Context, seq uint64) error { panic("skeleton") }

// Seal writes and syncs everything taken so far and seals the active segment, if it holds records or ledger changes.
func (s *Spool) Seal(ctx context.Context) error { panic("skeleton") }

// Sealed lists the sealed segments with numbers above after, ascending, at most max (0: all).
func (s *Spool) Sealed(after uint64, max int) []Segment { panic("skeleton") }

// Changed returns a channel that is closed at the next change of Sealed, Stats.Full or of a chain.
func (s *Spool) Changed() <-chan struct{} { panic("skeleton") }

// Stage returns the stage record of a sealed segment, making (or making again, from the raw segment and with the
// recorded settings) its staged file if it is not there.
func (s *Spool) Stage(ctx context.Context, number uint64, enc Encoder) (*StageRecord, error) {
	panic("skeleton")
}

// OpenStaged opens a staged file for reading. fs.ErrNotExist: call Stage.
func (s *Spool) OpenStaged(number uint64) (body *io.SectionReader, close func() error, err error) {
	panic("skeleton")
}

// Chain returns the chain state of a destination.
func (s *Spool) Chain(dest string) (Chain, error) { panic("skeleton") }

// Propose makes the bytes of a destination's next manifest durable, before they are first sent.
func (s *Spool) Propose(dest string, manifest []byte) error { panic("skeleton") }

// Proposed returns the proposed manifest that is not acknowledged yet. fs.ErrNotExist if there is none.
func (s *Spool) Proposed(dest string) ([]byte, error) { panic("skeleton") }

// Ack records that the proposed manifest stands at the destination: c becomes its chain state, durably. Segments that
// every destination's chain covers are deleted.
func (s *Spool) Ack(dest string, c Chain) error { panic("skeleton") }

// Hold stops deletion until release is called: a drain verifies against what is still here.
func (s *Spool) Hold() (release func()) { panic("skeleton") }

// Ledger returns the counters as of now.
func (s *Spool) Ledger() segment.Ledger { panic("skeleton") }

// Stats returns a cheap snapshot.
func (s *Spool) Stats() Stats { panic("skeleton") }

// Close commits and syncs what was taken, writes the clean mark without sealing, and releases the lock. Idempotent.
func (s *Spool) Close() error { panic("skeleton") }
