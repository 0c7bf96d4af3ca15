package ship

import (
	"context"
	"errors"
	"io"
	"maps"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/hist"
	"github.com/penstock-go/penstock/spool"
)

// Failure is a kind of failed operation at a destination.
type Failure string

// The kinds of failures. A failure that is none of the others is transient: a time-out, a broken connection, an answer that
// the destination gives only at times.
const (
	FailureTransient Failure = "transient"
	FailureRefused   Failure = "refused"  // only an operator can cure it: see Permanent
	FailureIdentity  Failure = "identity" // see ErrIdentity
	FailureVerify    Failure = "verify"   // what is there is not what was sent: see ErrVerify
	FailureConflict  Failure = "conflict" // the key is taken: see ErrConflict
	FailureFenced    Failure = "fenced"   // another owner continues the chain: see ErrFenced
	FailureFull      Failure = "full"     // not the destination's: the spool has no room for a staged file
	FailurePanic     Failure = "panic"    // the destination's code panicked
)

// failureOf returns the kind of an error of an operation at a destination.
func failureOf(err error) Failure {
	if _, ok := errors.AsType[*foreign.PanicError](err); ok {
		return FailurePanic
	}
	for _, k := range []struct {
		is   error
		kind Failure
	}{
		{ErrIdentity, FailureIdentity},
		{ErrFenced, FailureFenced},
		{ErrConflict, FailureConflict},
		{ErrVerify, FailureVerify},
		{spool.ErrFull, FailureFull},
	} {
		if errors.Is(err, k.is) {
			return k.kind
		}
	}
	if IsPermanent(err) {
		return FailureRefused
	}
	return FailureTransient
}

// quickest is the upper bound of the first bucket of the histograms: faster round trips need not be told apart.
const quickest = 4 * time.Millisecond

// record is what a lane remembers of its calls, for Stats.
type record struct {
	puts, verifications *hist.Histogram

	mu       sync.Mutex
	success  time.Time // of the last Put
	failures map[Failure]uint64
}

func newRecord() *record {
	return &record{puts: hist.New(quickest), verifications: hist.New(quickest), failures: map[Failure]uint64{}}
}

func (r *record) failed(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failures[failureOf(err)]++
}

func (r *record) put(began hist.Start, err error) {
	r.puts.Since(began)
	if err != nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.success = time.Now()
}

func (r *record) show(d *DestinationStats) {
	d.Put, d.Verify = spool.Latency(r.puts.Snapshot()), spool.Latency(r.verifications.Snapshot())
	r.mu.Lock()
	defer r.mu.Unlock()
	d.LastSuccess, d.Failures = r.success, maps.Clone(r.failures)
}

// recorded is a Destination that counts its Puts and calls the Hooks for them, whatever they store.
type recorded struct {
	Guarded
	to    *record
	hooks *hooks
}

// Put implements Destination.
func (d recorded) Put(ctx context.Context, o Object, body *io.SectionReader) (Receipt, error) {
	began := hist.Now()
	r, err := d.Guarded.Put(ctx, o, body)
	d.to.put(began, err)
	d.hooks.notePut(o, r, began.Time(), err)
	return r, err
}
