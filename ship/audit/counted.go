package audit

import (
	"context"
	"io"
	"iter"
	"sync/atomic"

	"github.com/penstock-go/penstock/ship"
)

// counted counts the requests that are made to a destination. A listing counts at least once, and once per thousand entries begun,
// as a store returns them.
type counted struct {
	ship.Guarded
	n atomic.Uint64
}

// Stat implements ship.Destination.
func (c *counted) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	c.n.Add(1)
	return c.Guarded.Stat(ctx, key)
}

// Open implements ship.Destination.
func (c *counted) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	c.n.Add(1)
	return c.Guarded.Open(ctx, key)
}

// List implements ship.Lister.
func (c *counted) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return c.pages(c.Guarded.List(ctx, prefix))
}

// ListAfter implements ship.ListerAfter.
func (c *counted) ListAfter(ctx context.Context, prefix, after string) iter.Seq2[ship.Entry, error] {
	return c.pages(c.Guarded.ListAfter(ctx, prefix, after))
}

func (c *counted) pages(list iter.Seq2[ship.Entry, error]) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		n := 0
		for e, err := range list {
			if n%page == 0 {
				c.n.Add(1)
			}
			if n++; !yield(e, err) {
				return
			}
		}
		if n == 0 {
			c.n.Add(1)
		}
	}
}
