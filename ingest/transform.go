package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/spool/segment"
)

// TransformFunc appends to out, which is empty, the records that replace r, and returns the result: none to drop r, one
// to keep or change it, several to split it.
//
// It must not change the bytes of r.Data, which belong to the listener: a changed record needs new bytes, or a part of
// r.Data. It is called from many goroutines at once, without a lock. It is called once for every record, with one
// exception: if a listener is closed while it waits for the sink, it is called again for the records in hand, and the first
// result is discarded.
type TransformFunc func(r segment.Record, out []segment.Record) []segment.Record

// TransformOptions configure a Transform. The zero value of every field means its documented default.
type TransformOptions struct {
	// Logger gets lines about panics and records that have become too long, at a bounded rate; nil discards.
	Logger *slog.Logger
}

// Transform is a Sink that drops, changes or splits records on their way to another Sink. It accounts for that in the
// other Sink's ledger: dropped records as filtered, additional ones as made, and bytes in the same way. So the ledger
// balances, in records and in bytes.
//
// If the function returns a record over segment.MaxRecord, that record is lost (frame_too_long). If the function panics,
// the record that it was called with is lost (panic). In both cases, if the sender waits for an acknowledgement, nothing
// of the batch is taken, the connection ends, and the sender repeats the batch. Transforms can be chained, and combined
// with a Route in any order.
//
// The spool writes its ledger to disk at most once a second. A kill loses the counts since then, here of the records that were
// received and dropped in that time: the ledger balances without them.
//
// A Transform does not count records as received: listeners report that by Account before they append. A program that
// appends to a Transform itself does the same.
type Transform struct {
	next          Sink
	append, offer put // of next, bound once: a method value allocates
	f             TransformFunc
	log           *limiter
}

var (
	_ Sink       = (*Transform)(nil)
	_ Keeper     = (*Transform)(nil)
	_ TryOfferer = (*Transform)(nil)
	_ Sessions   = (*Transform)(nil)
	_ Wrapper    = (*Transform)(nil)
)

// NewTransform returns a Transform that passes records on to next.
func NewTransform(next Sink, f TransformFunc, o *TransformOptions) (*Transform, error) {
	if next == nil || f == nil {
		return nil, errors.New("ingest: a Transform needs a Sink and a function")
	}
	if o == nil {
		o = &TransformOptions{}
	}
	return newTransform(next, f, newLimiter(steadylog.Wrap(o.Logger))), nil
}

func newTransform(next Sink, f TransformFunc, log *limiter) *Transform {
	return &Transform{next: next, append: next.Append, offer: next.Offer, f: f, log: log}
}

// Append implements Sink.
func (t *Transform) Append(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return t.pass(ctx, t.append, batch)
}

// Offer implements Sink.
func (t *Transform) Offer(ctx context.Context, batch []segment.Record) (last uint64, err error) {
	return t.pass(ctx, t.offer, batch)
}

// TryOffer implements TryOfferer. If the Sink has room for only a part of the transformed records, it takes that part, and
// the rest is lost (spool_full).
func (t *Transform) TryOffer(batch []segment.Record) (last uint64, err error) {
	return t.pass(over, nil, batch)
}

// Keep implements Keeper.
func (t *Transform) Keep(batch []segment.Record) (last uint64, err error) {
	return t.pass(over, func(_ context.Context, b []segment.Record) (uint64, error) { return Keep(t.next, b) }, batch)
}

// Account implements Sink.
func (t *Transform) Account(a segment.Account) { t.next.Account(a) }

// Session implements Sessions.
func (t *Transform) Session() Sink {
	next := Session(t.next)
	if next == t.next {
		return t
	}
	return newTransform(next, t.f, t.log)
}

// Unwrap implements Wrapper.
func (t *Transform) Unwrap() Sink { return t.next }

// pass transforms the batch and passes it on, to p or, if that is nil, without waiting. If the Sink refuses, pass retries
// with the transformed records, so that no record is transformed twice.
func (t *Transform) pass(ctx context.Context, p put, batch []segment.Record) (last uint64, err error) {
	w := works.Get().(*work)
	last, err = t.passWork(ctx, p, batch, w)
	w.release()
	return last, err
}

func (t *Transform) passWork(ctx context.Context, p put, batch []segment.Record, w *work) (last uint64, err error) {
	w.apply(t, batch)
	if w.bad != nil && acknowledged(ctx) {
		w.bad.t = tally(batch)
		t.next.Account(w.bad.account(true))
		return 0, w.bad
	}
	// Made records must be accounted for before they are kept.
	if w.made != (segment.Tally{}) {
		t.next.Account(segment.Account{Made: w.made})
	}
	var d delivery
	var left []segment.Record
	if p == nil {
		left = d.tryAll(t.next, w.out)
	} else {
		left = d.run(ctx, p, w.out, t.log)
	}
	if len(left) > 0 {
		if len(left) == len(w.out) {
			if w.made != (segment.Tally{}) {
				t.next.Account(segment.Account{Made: minus(w.made)})
			}
			if p == nil {
				return 0, noRoom{d.refused}
			}
			return 0, d.refused
		}
		if p == nil { // lose the rest, as Route.Offer does: it must neither wait nor exceed the quota
			e := &lostError{tally(left), segment.SpoolFull, d.refused}
			t.next.Account(e.account(false))
			d.rejected = e
		} else if err := giveUp(ctx, t.next, left, d.refused); err != nil {
			d.rejected = err
		}
	}
	if a := (segment.Account{Filtered: w.filtered, Lost: w.lost}); a != (segment.Account{}) {
		t.next.Account(a)
	}
	switch {
	case d.rejected != nil:
		return 0, d.rejected
	case w.bad != nil:
		return 0, w.bad
	}
	return d.last, nil
}

// work is the memory for one batch, and its account.
type work struct {
	out, one       []segment.Record
	made, filtered segment.Tally
	lost           segment.Losses
	bad            *lostError // the last record that was lost
}

var works = sync.Pool{New: func() any { return new(work) }}

// release returns the memory to the pool, with its pointers cleared.
func (w *work) release() {
	clear(w.out)
	clear(w.one[:cap(w.one)])
	*w = work{out: w.out[:0], one: w.one}
	works.Put(w)
}

// apply transforms the batch. A record for which the function panics is lost; the others are not.
func (w *work) apply(t *Transform, batch []segment.Record) {
	for i := 0; i < len(batch); i++ {
		var r any
		if i, r = w.run(t, batch, i); r != nil {
			t.log.panicked("ingest: a Transform panicked; the record is lost, or its sender repeats it", r, "src", batch[i].Src.String())
			w.lose(segment.Panicked, len(batch[i].Data), fmt.Errorf("%w: %v", errPanicked, r))
		}
	}
}

// run transforms batch[i:] until the end, or until the function panics: then it returns the index of that record.
func (w *work) run(t *Transform, batch []segment.Record, i int) (at int, panicked any) {
	defer func() {
		if panicked = recover(); panicked != nil {
			at = i
		}
	}()
	for ; i < len(batch); i++ {
		r := batch[i]
		r.Data = slices.Clip(r.Data) // an append must not write into the listener's buffer
		one := t.f(r, w.one)
		w.take(t, one, len(r.Data))
		w.room(one)
	}
	return i, nil
}

// take adds the result for one record of n bytes.
func (w *work) take(t *Transform, one []segment.Record, n int) {
	if len(one) == 0 {
		addTally(&w.filtered, segment.Tally{Records: 1, Bytes: uint64(n)})
		return
	}
	sum := 0
	for i := range one {
		sum += len(one[i].Data)
		if len(one[i].Data) > segment.MaxRecord {
			t.log.warn("ingest: a record is too long after a Transform; it is lost, or its sender repeats it", "bytes", len(one[i].Data), "src", one[i].Src.String())
			w.lose(segment.FrameTooLong, len(one[i].Data), errTooLong)
			continue
		}
		w.out = append(w.out, one[i])
	}
	w.made.Records += uint64(len(one) - 1)
	if sum > n {
		w.made.Bytes += uint64(sum - n)
	} else {
		w.filtered.Bytes += uint64(n - sum)
	}
}

// room enlarges w.one to the size of a result that did not fit into it. The result itself is not reused, since it may be a
// slice of the function's own.
func (w *work) room(one []segment.Record) {
	if n := len(one); n > cap(w.one) && n <= maxBatch {
		w.one = make([]segment.Record, 0, n)
	}
}

var errTooLong = fmt.Errorf("ingest: a record is over %d bytes after a Transform", segment.MaxRecord)

func (w *work) lose(cause segment.Cause, bytes int, why error) {
	w.lost[cause].Add(segment.Loss{Records: 1, Bytes: uint64(bytes)})
	w.bad = &lostError{segment.Tally{Records: 1, Bytes: uint64(bytes)}, cause, why}
}
