package ingest

import (
	"context"
	"errors"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/segment"
)

// Sink is where listeners put records. *spool.Intake is one; [Transform] and [Route] are Sinks that pass records on to
// others. Its methods are called from many goroutines at once.
//
// A batch and the bytes it points to belong to the listener, which reuses them as soon as the call has returned: a Sink
// that needs them longer copies them. A batch is taken as a whole or not at all:
//
//	nil error                      taken
//	error with last > 0            taken under these numbers, but not kept yet: it is the Sink's now
//	error that was Rejected        not taken, and counted as lost by the Sink itself
//	any other error                not taken: the listener offers the batch again, in parts, with back-off, without end
//
// An error was Rejected if it has, or wraps one that has, a method Rejected() bool that returns true.
//
// A Sink may also implement [Durable], [Keeper], [TryOfferer], [DropBaseline] and [Sessions]. A Sink that wraps another
// one must pass these methods on: see [Wrapper].
type Sink interface {
	// Append returns once the batch is kept, with the sequence number of its last record.
	Append(ctx context.Context, batch []segment.Record) (last uint64, err error)
	// Offer copies the batch into a memory budget and returns; it waits only while the budget is used up.
	Offer(ctx context.Context, batch []segment.Record) (last uint64, err error)
	// Account adds what the listener received and lost to the ledger. It does not wait. Records are accounted as received
	// before they are appended or offered, so that the ledger never shows more kept than received. A Transform or Route
	// reverses its account of a batch that was not taken: it adds 2^64 − n, so that the sum wraps around.
	Account(a segment.Account)
}

// errGivenUp is the reason for records that are neither kept nor acknowledged.
var errGivenUp = errors.New("ingest: records were given up and are not acknowledged")

// nowhere is the sink of a listener that was never served. It takes nothing.
type nowhere struct{}

func (nowhere) Append(context.Context, []segment.Record) (uint64, error) { return 0, ErrServerClosed }

func (nowhere) Offer(context.Context, []segment.Record) (uint64, error) { return 0, ErrServerClosed }
func (nowhere) Account(segment.Account)                                 {}

// keep passes records that could not be delivered in time to Keep, and returns those that the sink did not take.
func keep(sink Sink, batch []segment.Record) (left []segment.Record) {
	var d delivery
	if d.settled(Keep(sink, batch)) {
		return nil
	}
	return batch
}

// put is Sink.Append or Sink.Offer.
type put func(ctx context.Context, batch []segment.Record) (last uint64, err error)

// deliver hands the batch to p until all of it is taken or rejected. If ctx ends first, it returns the rest.
func deliver(ctx context.Context, p put, batch []segment.Record, log *limiter) (left []segment.Record) {
	var d delivery
	return d.run(ctx, p, batch, log)
}

// delivery is the result of delivering a batch.
type delivery struct {
	last     uint64 // number of the last record that was taken
	rejected error  // why the sink has counted some records as lost
	refused  error  // why the rest was not taken
}

// run implements deliver.
func (d *delivery) run(ctx context.Context, p put, batch []segment.Record, log *limiter) (left []segment.Record) {
	n := len(batch)
	for failures := 0; len(batch) > 0; {
		last, err := p(ctx, batch[:n])
		if d.settled(last, err) {
			batch = batch[n:]
			n, failures = min(n, len(batch)), 0
			continue
		}
		if ctx.Err() != nil {
			break
		}
		log.warn("ingest: the sink does not take records; will retry", "records", n, "failures", failures+1, "err", err)
		_ = wait.Sleep(ctx, backoff(failures))
		failures++
		n = max(1, n/2) // the batch may be too large: a burst can hold 4 MiB
	}
	return batch
}

// settled notes a sink's result, and reports whether the batch is done and must not be offered again.
func (d *delivery) settled(last uint64, err error) bool {
	switch {
	case err == nil || last > 0:
		d.last = max(d.last, last)
	case rejected(err):
		d.rejected = err
	default:
		d.refused = err
		return false
	}
	return true
}

// rejected reports whether the Sink has counted the batch as lost.
func rejected(err error) bool {
	var r interface{ Rejected() bool }
	return errors.As(err, &r) && r.Rejected()
}

// backoff is the pause after the given number of failures in a row: 5 ms, doubled up to a second. It is short because the
// kernel drops datagrams, and peers wait, while a listener does not read.
func backoff(failures int) time.Duration {
	return min(5*time.Millisecond<<min(failures, 8), time.Second)
}
