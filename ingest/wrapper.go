package ingest

import (
	"context"
	"errors"

	"github.com/penstock-go/penstock/spool/segment"
)

// Durable is implemented by Sinks that can serve a listener that acknowledges: see Acknowledger.
type Durable interface {
	// WaitDurable returns nil when every record up to seq is on stable storage. seq is a number that Append has returned.
	WaitDurable(ctx context.Context, seq uint64) error
}

// Keeper is implemented by Sinks that can take, without waiting, the records that a closed listener has read but not handed
// over yet, even if Append and Offer would wait for room. Without Keep those records are lost (given_up).
type Keeper interface {
	// Keep takes the whole batch, or nothing: then it returns an error and last = 0. An error that was Rejected has the
	// same meaning as for Append.
	Keep(batch []segment.Record) (last uint64, err error)
}

// TryOfferer is implemented by Sinks that can refuse at once when Offer would wait.
type TryOfferer interface {
	// TryOffer is Offer without any waiting.
	TryOffer(batch []segment.Record) (last uint64, err error)
}

// DropBaseline is implemented by Sinks that know which drops of an inherited socket an earlier process has accounted for.
// Without it, all of them are accounted for again.
type DropBaseline interface {
	// SocketDrops returns how many drops of the socket are accounted for: see segment.Account.Drops.
	SocketDrops(cookie uint64) uint64
}

// Sessions is implemented by Sinks that distinguish the connections from which records come.
type Sessions interface {
	// Session returns the Sink for one connection whose records are acknowledged. Its WaitDurable waits for this
	// connection's records only.
	Session() Sink
}

// Wrapper is implemented by Sinks that pass records on to another Sink. If a Wrapper lacks SocketDrops or WaitDurable,
// listeners look for it in the Sink that Unwrap returns, and so on. So a Wrapper without WaitDurable must return the
// numbers that the other Sink returns.
//
// Listeners call the methods that take records only on the outermost Sink, since otherwise the records would bypass the
// Wrapper. It passes them on with [Keep], [TryOffer] and [Session]:
//
//	func (w wrapper) Keep(b []segment.Record) (uint64, error) { return ingest.Keep(w.Sink, b) }
//
// A Sink that drops or changes records must account for that: use Transform.
type Wrapper interface {
	Unwrap() Sink
}

// Keep calls s.Keep if s is a Keeper. Any other Sink takes nothing.
func Keep(s Sink, batch []segment.Record) (last uint64, err error) {
	if k, ok := s.(Keeper); ok {
		return k.Keep(batch)
	}
	return 0, errGivenUp
}

// TryOffer calls s.TryOffer if s is a TryOfferer. Otherwise it calls s.Offer, which may wait.
func TryOffer(s Sink, batch []segment.Record) (last uint64, err error) {
	if t, ok := s.(TryOfferer); ok {
		return t.TryOffer(batch)
	}
	return s.Offer(context.Background(), batch)
}

// over is a context that has ended.
var over = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Session calls s.Session if s implements Sessions. Any other Sink is its own session.
func Session(s Sink) Sink {
	if x, ok := s.(Sessions); ok {
		return x.Session()
	}
	return s
}

// find returns s as a T, or the first Sink below s that is a T.
func find[T any](s Sink) (found T, ok bool) {
	for s != nil {
		if found, ok = s.(T); ok {
			return found, true
		}
		w, wraps := s.(Wrapper)
		if !wraps {
			break
		}
		s = w.Unwrap()
	}
	return found, false
}

// durable returns the Durable of a sink.
func durable(s Sink) (Durable, error) {
	d, ok := find[Durable](s)
	if !ok {
		return nil, errNotDurable
	}
	if p, ok := d.(interface{ notDurable() error }); ok {
		return d, p.notDurable()
	}
	return d, nil
}

// waitDurable waits for records of a sink.
func waitDurable(ctx context.Context, s Sink, seq uint64) error {
	d, err := durable(s)
	if err != nil {
		return err
	}
	return d.WaitDurable(ctx, seq)
}

var errNotDurable = errors.New("ingest: the framing acknowledges records, and the sink has no WaitDurable")

// acknowledgedKey marks the context of records that their sender repeats unless they are acknowledged.
type acknowledgedKey struct{}

func acknowledged(ctx context.Context) bool { return ctx.Value(acknowledgedKey{}) != nil }

// patientKey marks the context of an Offer that may wait in a Route.
type patientKey struct{}

// tryAll offers the batch, if necessary in parts, and never waits. It returns the records for which there was no room.
func (d *delivery) tryAll(s Sink, batch []segment.Record) (left []segment.Record) {
	for n := len(batch); len(batch) > 0; {
		last, err := TryOffer(s, batch[:n])
		switch {
		case d.settled(last, err):
			batch = batch[n:]
			n = min(n, len(batch))
		case n == 1 || errors.As(err, new(noRoom)):
			return batch
		default:
			n /= 2
		}
	}
	return nil
}

// noRoom is the error of a Sink that has no room for even one record.
type noRoom struct{ why error }

func (e noRoom) Error() string { return "ingest: no room: " + e.why.Error() }
func (e noRoom) Unwrap() error { return e.why }

// lostError is the error for records that were not taken, and were counted as lost.
type lostError struct {
	t     segment.Tally
	cause segment.Cause
	why   error
}

func (e *lostError) Error() string {
	return "ingest: lost " + e.cause.String() + ": " + e.why.Error()
}
func (e *lostError) Unwrap() error  { return e.why }
func (e *lostError) Rejected() bool { return true }

// account returns the Account of the loss.
func (e *lostError) account(atMost bool) (a segment.Account) {
	a.Lost[e.cause] = segment.Loss{Records: e.t.Records, Bytes: e.t.Bytes, AtMost: atMost}
	return a
}

// giveUp settles the rest of a batch of which a part was taken, so that it cannot be offered again as a whole. The rest is
// kept even over the quota, unless its sender repeats it.
func giveUp(ctx context.Context, s Sink, left []segment.Record, why error) error {
	again := acknowledged(ctx)
	if !again && len(keep(s, left)) == 0 {
		return nil
	}
	e := &lostError{tally(left), segment.GivenUp, why}
	s.Account(e.account(again))
	return e
}

// minus returns the Tally that reverses t: see Sink.Account.
func minus(t segment.Tally) segment.Tally { return segment.Tally{Records: -t.Records, Bytes: -t.Bytes} }
