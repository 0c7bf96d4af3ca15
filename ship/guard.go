package ship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// Guarded is a Destination as Guard returns it.
type Guarded interface {
	Destination
	Lister
	ListerAfter
	Checker
}

// Guard wraps d for a caller that must survive its faults. A panic in one of its methods, in a body that it has returned, or
// in its List becomes an error; panicked, if not nil, is called with that error and the stack. A Put, Stat, Open or Check
// that has not returned five seconds after its context ended is abandoned. List, ListAfter and Check return
// errors.ErrUnsupported if d has no such method. Shippers and auditors guard their destinations themselves.
func Guard(d Destination, panicked func(err error, stack []byte)) Guarded {
	return guarded{d, panicked}
}

type guarded struct {
	d        Destination
	panicked func(err error, stack []byte)
}

// note passes err to panicked if it is a panic, and returns it.
func (g guarded) note(err error) error {
	if p, ok := errors.AsType[*foreign.PanicError](err); ok && g.panicked != nil {
		g.panicked(err, p.Stack)
	}
	return err
}

// Put implements Destination. An abandoned Put may continue to read body after its file was closed.
func (g guarded) Put(ctx context.Context, o Object, body *io.SectionReader) (Receipt, error) {
	r, err := foreign.Call(ctx, foreign.Grace, "Destination.Put", func() (Receipt, error) { return g.d.Put(ctx, o, body) })
	return r, g.note(err)
}

// Stat implements Destination.
func (g guarded) Stat(ctx context.Context, key string) (Receipt, error) {
	r, err := foreign.Call(ctx, foreign.Grace, "Destination.Stat", func() (Receipt, error) { return g.d.Stat(ctx, key) })
	return r, g.note(err)
}

// Open implements Destination.
func (g guarded) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	body, err := foreign.Call(ctx, foreign.Grace, "Destination.Open", func() (io.ReadCloser, error) { return g.d.Open(ctx, key) })
	switch {
	case err != nil:
		return nil, g.note(err)
	case foreign.IsNil(body):
		return nil, fmt.Errorf("ship: Destination.Open returned neither an error nor a body for %s", key)
	}
	return foreign.Reader("Destination.Open: body", body, g.note), nil
}

// List implements Lister. A panic in the caller's own loop body is not caught.
func (g guarded) List(ctx context.Context, prefix string) iter.Seq2[Entry, error] {
	l, ok := g.d.(Lister)
	if !ok {
		return func(yield func(Entry, error) bool) { yield(Entry{}, errors.ErrUnsupported) }
	}
	return g.listed("Destination.List", func() iter.Seq2[Entry, error] { return l.List(ctx, prefix) })
}

// ListAfter implements ListerAfter. The iteration ends with errors.ErrUnsupported if the destination is no ListerAfter.
func (g guarded) ListAfter(ctx context.Context, prefix, after string) iter.Seq2[Entry, error] {
	l, ok := g.d.(ListerAfter)
	if !ok {
		return func(yield func(Entry, error) bool) { yield(Entry{}, errors.ErrUnsupported) }
	}
	return g.listed("Destination.ListAfter", func() iter.Seq2[Entry, error] { return l.ListAfter(ctx, prefix, after) })
}

// listed guards a listing and the iteration over it.
func (g guarded) listed(name string, list func() iter.Seq2[Entry, error]) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		var own any // a panic in yield
		err := foreign.Catch(name, func() error {
			for e, err := range list() {
				if !func() bool {
					defer func() {
						if own = recover(); own != nil {
							panic(own)
						}
					}()
					return yield(e, err)
				}() {
					return nil
				}
			}
			return nil
		})
		if own != nil {
			panic(own)
		}
		if err != nil {
			yield(Entry{}, g.note(err))
		}
	}
}

// Check implements Checker.
func (g guarded) Check(ctx context.Context) error {
	c, ok := g.d.(Checker)
	if !ok {
		return errors.ErrUnsupported
	}
	_, err := foreign.Call(ctx, foreign.Grace, "Destination.Check", func() (struct{}, error) { return struct{}{}, c.Check(ctx) })
	return g.note(err)
}

// notePanic counts and logs a panic in the code that serves this destination.
func (l *lane) notePanic(err error, stack []byte) {
	l.panics.Add(1)
	l.log.Error("ship: the destination's code panicked; the attempt has failed and is repeated, and everything else continues: correct the driver by the stack", "err", err, "stack", string(stack))
}

// signed calls sign, which uses the Signer. A Signer takes no context, so one that hangs is abandoned when ctx ends.
func (l *lane) signed(ctx context.Context, sign func() error) error {
	_, err := foreign.Call(ctx, foreign.Grace, "Signer", func() (struct{}, error) { return struct{}{}, sign() })
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		l.notePanic(err, p.Stack)
	}
	return err
}

// safeEncoder turns a panic of the encoder into an error: its codec or format may be an embedder's. The shipper needs it only
// for its own calls, since Shelf.Stage has a guard of its own.
type safeEncoder struct{ enc spool.Encoder }

// Encode implements spool.Encoder.
func (s safeEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (out object.Encoded, err error) {
	err = foreign.Catch("Encoder.Encode", func() (err error) { out, err = s.enc.Encode(ctx, dst, src, want); return err })
	return out, err
}

// Decode implements spool.Encoder.
func (s safeEncoder) Decode(src io.Reader, e object.Encoding) (r io.ReadCloser, err error) {
	err = foreign.Catch("Encoder.Decode", func() (err error) { r, err = s.enc.Decode(src, e); return err })
	if err != nil {
		return nil, err
	}
	return foreign.Reader("Encoder.Decode", r, func(err error) error { return err }), nil
}
