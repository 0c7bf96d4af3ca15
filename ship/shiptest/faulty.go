package shiptest

import (
	"context"
	"errors"
	"io"
	"iter"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
)

// Op names a method of a destination.
type Op string

// The operations that a Faulty decorates.
const (
	Put   Op = "put"
	Stat  Op = "stat"
	Open  Op = "open"
	List  Op = "list"
	Check Op = "check"
)

// Call identifies one call for a Plan.
type Call struct {
	Op  Op
	N   int // counts the calls of this Op, from 1
	Key string
}

// Fault is what happens to a call; the zero value is no fault. Both hooks may block, to simulate latency.
type Fault struct {
	// Before runs before the effect. Its error is the call's, and the effect does not happen.
	Before func(context.Context) error
	// After runs once the effect has happened. Its error is the call's: a response that was lost on its way.
	After func(context.Context) error
}

// Plan decides what happens to a call. It is called by many goroutines, but never by two at once.
type Plan func(Call) Fault

// FailBefore is a Fault without effect: the request never arrived.
func FailBefore(err error) Fault {
	return Fault{Before: func(context.Context) error { return err }}
}

// FailAfter is a Fault with effect: the response was lost after the destination had done its work.
func FailAfter(err error) Fault {
	return Fault{After: func(context.Context) error { return err }}
}

// Delay is latency before the effect, cut short by the call's context.
func Delay(d time.Duration) Fault {
	return Fault{Before: func(ctx context.Context) error { return wait.Sleep(ctx, d) }}
}

// FaultyDestination decorates a destination with faults.
type FaultyDestination struct {
	d ship.Destination

	mu    sync.Mutex
	plan  Plan
	calls map[Op]int
}

var (
	_ ship.Destination = (*FaultyDestination)(nil)
	_ ship.Lister      = (*FaultyDestination)(nil)
	_ ship.Checker     = (*FaultyDestination)(nil)
)

// Faulty returns d with the faults that plan asks for; a nil plan asks for none. List and Check exist even if d has no such
// method; then List yields errors.ErrUnsupported, and Check returns nil.
func Faulty(d ship.Destination, plan Plan) *FaultyDestination {
	return &FaultyDestination{d: d, plan: plan, calls: map[Op]int{}}
}

// SetPlan replaces the plan for the calls that begin from now on. The counts of calls continue.
func (f *FaultyDestination) SetPlan(plan Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.plan = plan
}

// Calls returns how many calls of op have begun.
func (f *FaultyDestination) Calls(op Op) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls[op]
}

func (f *FaultyDestination) fault(op Op, key string) Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls[op]++
	if f.plan == nil {
		return Fault{}
	}
	return f.plan(Call{op, f.calls[op], key})
}

// around runs one call between the two hooks of its fault.
func around[T any](ctx context.Context, f Fault, effect func() (T, error)) (T, error) {
	var zero T
	if f.Before != nil {
		if err := f.Before(ctx); err != nil {
			return zero, err
		}
	}
	v, err := effect()
	if err == nil && f.After != nil {
		if lost := f.After(ctx); lost != nil {
			if c, ok := any(v).(io.Closer); ok {
				_ = c.Close() // the caller will never see it
			}
			return zero, lost
		}
	}
	return v, err
}

// Put implements ship.Destination.
func (f *FaultyDestination) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	return around(ctx, f.fault(Put, o.Key), func() (ship.Receipt, error) { return f.d.Put(ctx, o, body) })
}

// Stat implements ship.Destination.
func (f *FaultyDestination) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	return around(ctx, f.fault(Stat, key), func() (ship.Receipt, error) { return f.d.Stat(ctx, key) })
}

// Open implements ship.Destination.
func (f *FaultyDestination) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	return around(ctx, f.fault(Open, key), func() (io.ReadCloser, error) { return f.d.Open(ctx, key) })
}

// List implements ship.Lister.
func (f *FaultyDestination) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		seq, err := around(ctx, f.fault(List, prefix), func() (iter.Seq2[ship.Entry, error], error) {
			l, ok := f.d.(ship.Lister)
			if !ok {
				return nil, errors.ErrUnsupported
			}
			return l.List(ctx, prefix), nil
		})
		if err != nil {
			yield(ship.Entry{}, err)
			return
		}
		seq(yield)
	}
}

// Check implements ship.Checker.
func (f *FaultyDestination) Check(ctx context.Context) error {
	_, err := around(ctx, f.fault(Check, ""), func() (struct{}, error) {
		if c, ok := f.d.(ship.Checker); ok {
			return struct{}{}, c.Check(ctx)
		}
		return struct{}{}, nil
	})
	return err
}
