package open

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"math/rand/v2"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
)

// attempts is how many attempts in a row may fail before the error is returned: with ship.Backoff up to 25 seconds.
const attempts = 8

// retrying reads from a destination and retries after failures that may pass.
type retrying struct{ d ship.Destination }

// pause waits after the given number of failures in a row. It returns err instead if another attempt is of no use, or if
// there have been enough.
func pause(ctx context.Context, failures int, err error) error {
	if ctx.Err() != nil || ship.IsPermanent(err) || errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if failures >= attempts {
		return fmt.Errorf("%d attempts failed, the last: %w", failures, err)
	}
	if wait.Sleep(ctx, ship.Backoff(failures, rand.Float64())) != nil {
		return err
	}
	return nil
}

// Open opens an object.
func (r retrying) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	b := &body{ctx: ctx, d: r.d, key: key}
	if err := b.open(nil); err != nil {
		return nil, err
	}
	return b, nil
}

// body reads an object's bytes. An object never changes, so it can be opened again and reading can continue at off.
type body struct {
	ctx      context.Context // of the read that this body serves
	d        ship.Destination
	key      string
	src      io.ReadCloser
	off      int64
	failures int   // since the last byte
	err      error // ends reading
}

// open opens the object at off, after the failure err if that is not nil.
func (b *body) open(err error) error {
	for {
		if err != nil {
			b.failures++
			if err := pause(b.ctx, b.failures, err); err != nil {
				return err
			}
		}
		if b.src, err = b.d.Open(b.ctx, b.key); err != nil {
			continue
		}
		if _, err = io.CopyN(io.Discard, b.src, b.off); err == nil {
			return nil
		}
		_ = b.src.Close()
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("the object is shorter than before: %d bytes had been read", b.off)
		}
	}
}

func (b *body) Read(p []byte) (int, error) {
	for b.err == nil {
		n, err := b.src.Read(p)
		b.off += int64(n)
		if n > 0 {
			b.failures = 0
			if err != nil && !errors.Is(err, io.EOF) {
				err = nil // the next Read returns it again
			}
		}
		if n > 0 || err == nil || errors.Is(err, io.EOF) {
			return n, err
		}
		_ = b.src.Close()
		b.err = b.open(err)
	}
	return 0, b.err
}

// Close implements io.Closer. A body that could not be opened again is already closed.
func (b *body) Close() error {
	if b.err != nil {
		return nil
	}
	return b.src.Close()
}

// List lists objects. A listing that is begun again yields only objects that were not yielded before.
func (r retrying) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		l, ok := r.d.(ship.Lister)
		if !ok {
			yield(ship.Entry{}, errors.New("this destination cannot list its objects"))
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
