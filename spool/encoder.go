package spool

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/giveway"
	"github.com/penstock-go/penstock/spool/object"
	"github.com/penstock-go/penstock/spool/segment"
)

// guardedEncoder calls an Encoder, which may be an embedder's. If the Encoder panics, the attempt fails. If it ignores its
// context, it is abandoned: it must not keep Close waiting, and must not write to a file that another process may have by then.
type guardedEncoder struct {
	enc    Encoder
	s      *Shelf
	number uint64 // of the segment
}

var _ Encoder = guardedEncoder{}

// guard admits a call that stages a segment, and returns the guarded enc. It refuses arguments that can only be a mistake of
// the caller.
func (s *Shelf) guard(ctx context.Context, enc Encoder, number uint64) (Encoder, error) {
	if foreign.IsNil(enc) {
		return nil, errors.New("spool: staging needs an Encoder, not nil")
	}
	if err := checkContext(ctx); err != nil {
		return nil, err
	}
	return guardedEncoder{enc, s, number}, s.admit()
}

// Encode implements Encoder.
func (g guardedEncoder) Encode(ctx context.Context, dst io.Writer, src *segment.Reader, want *object.Encoding) (object.Encoded, error) {
	e, err := callGated(ctx, g.s.space, "Encoder.Encode", dst, func(dst io.Writer) (object.Encoded, error) { return g.enc.Encode(ctx, dst, src, want) })
	return e, g.note(err)
}

// callGated is foreign.Call for code that writes to dst. Code that has been abandoned can no longer write to dst.
func callGated[T any](ctx context.Context, s *space, what string, dst io.Writer, f func(dst io.Writer) (T, error)) (T, error) {
	out := &gate{w: dst, space: s, yielder: giveway.NewYielder()}
	defer out.yielder.Done()
	v, err := foreign.Call(ctx, foreign.Grace, what, func() (T, error) { return f(out) })
	out.shut()
	return v, err
}

// Decode implements Encoder.
func (g guardedEncoder) Decode(src io.Reader, e object.Encoding) (r io.ReadCloser, err error) {
	err = foreign.Catch("Encoder.Decode", func() (err error) { r, err = g.enc.Decode(src, e); return err })
	if err != nil {
		return nil, g.note(err)
	}
	return foreign.Reader("Encoder.Decode", r, g.note), nil
}

// note counts and logs a panic.
func (g guardedEncoder) note(err error) error {
	if p, ok := errors.AsType[*foreign.PanicError](err); ok {
		g.s.panics.Add(1)
		g.s.log.Error("spool: the Encoder panicked; the segment is kept, and staging is tried again: correct the format or codec that the program has added", "class", g.s.opts.Class,
			"segment", g.number, "err", err, "stack", string(p.Stack))
	}
	return err
}

// gate passes writes on until it is shut. shut waits for a write in progress. Between writes, gate gives way to receivers that
// cannot keep up, unless the spool needs the room that staging will free.
type gate struct {
	space   *space
	yielder *giveway.Yielder

	mu sync.Mutex
	w  io.Writer // nil once it is shut
}

func (g *gate) Write(p []byte) (int, error) {
	if g.yielder.Due() && !g.space.crowded() {
		g.yielder.Rest()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.w == nil {
		return 0, foreign.ErrAbandoned
	}
	return g.w.Write(p)
}

func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.w = nil
}
