package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// patience is how many attempts in a row may fail before somebody is told: with ship.Backoff about twenty seconds.
const patience = 8

// Patient returns a destination that is read through failures which may pass: a connection that breaks in the middle of an
// object is made again, and reading goes on where it was. Who counts what is there must not take it for missing.
func Patient(d ship.Destination) ship.Destination { return patient{d} }

type patient struct{ ship.Destination }

var _ ship.Lister = patient{}

// lasting reports whether another attempt is of no use.
func lasting(ctx context.Context, err error) bool {
	return ctx.Err() != nil || ship.IsPermanent(err) || errors.Is(err, fs.ErrNotExist)
}

// pause waits after the given number of failures in a row, and returns err if there have been enough.
func pause(ctx context.Context, failures int, err error) error {
	if lasting(ctx, err) {
		return err
	}
	if failures >= patience {
		return fmt.Errorf("%d attempts failed, the last: %w", failures, err)
	}
	t := time.NewTimer(ship.Backoff(failures, rand.Float64()))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return err
	}
}

// Open implements ship.Destination.
func (p patient) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	b := &patientBody{ctx: ctx, d: p.Destination, key: key}
	if err := b.open(nil); err != nil {
		return nil, err
	}
	return b, nil
}

// patientBody is an object's bytes. An object never changes, so that one opened again goes on where the other broke off.
type patientBody struct {
	ctx      context.Context
	d        ship.Destination
	key      string
	body     io.ReadCloser
	off      int64
	failures int   // since the last byte
	err      error // why reading has ended for good
}

// open opens the object at off, after the failure err if that is not nil.
func (b *patientBody) open(err error) error {
	for {
		if err != nil {
			b.failures++
			if err := pause(b.ctx, b.failures, err); err != nil {
				return err
			}
		}
		if b.body, err = b.d.Open(b.ctx, b.key); err != nil {
			continue
		}
		if _, err = io.CopyN(io.Discard, b.body, b.off); err == nil {
			return nil
		}
		_ = b.body.Close()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%s: is shorter than before: %d bytes had been read", b.key, b.off)
		}
	}
}

func (b *patientBody) Read(p []byte) (int, error) {
	for b.err == nil {
		n, err := b.body.Read(p)
		b.off += int64(n)
		if n > 0 {
			b.failures = 0
			if err != nil && !errors.Is(err, io.EOF) {
				err = nil // it will come again
			}
		}
		if n > 0 || err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
		_ = b.body.Close()
		b.err = b.open(err)
	}
	return 0, b.err
}

// Close implements io.Closer. A body that could not be opened again is closed already.
func (b *patientBody) Close() error {
	if b.err != nil {
		return nil
	}
	return b.body.Close()
}

// List implements ship.Lister.
func (p patient) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		l, ok := p.Destination.(ship.Lister)
		if !ok {
			yield(ship.Entry{}, errors.New("this destination cannot be listed"))
			return
		}
		seen, failures := map[string]bool{}, 0
		for {
			var failed error
			for e, err := range l.List(ctx, prefix) {
				if err != nil {
					failed = err
					break
				}
				if seen[e.Key] {
					continue
				}
				seen[e.Key], failures = true, 0
				if !yield(e, nil) {
					return
				}
			}
			if failed == nil {
				return
			}
			failures++
			if err := pause(ctx, failures, failed); err != nil {
				yield(ship.Entry{}, err)
				return
			}
		}
	}
}
