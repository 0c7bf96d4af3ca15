package ingest

import (
	"context"

	"github.com/penstock-go/penstock/spool/segment"
)

// Sink is where listeners put records. *spool.Intake is one.
type Sink interface {
	// Append returns once the batch is kept, with the sequence number of its last record.
	Append(ctx context.Context, batch []segment.Record) (last uint64, err error)
	// Offer copies the batch into a memory budget and returns; it waits only while the budget is used up.
	Offer(ctx context.Context, batch []segment.Record) (last uint64, err error)
	// Account adds what the listener received and lost to the ledger.
	Account(a segment.Account)
}
