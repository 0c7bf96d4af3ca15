package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/penstock-go/penstock/ship"
)

// swap is a destination whose driver can be replaced while objects are being sent, by one with other credentials or parameters
// for the same place. A call in progress ends with the driver that it began with; that driver is closed afterwards.
type swap struct {
	mu  sync.Mutex
	now *opened
}

// opened is an open driver, and counts its users.
type opened struct {
	ship.Destination
	use sync.WaitGroup
}

var (
	_ ship.Destination = (*swap)(nil)
	_ ship.Lister      = (*swap)(nil)
	_ ship.Checker     = (*swap)(nil)
	_ ship.Locator     = (*swap)(nil)
	_ io.Closer        = (*swap)(nil)
)

func newSwap(d ship.Destination) *swap { return &swap{now: &opened{Destination: d}} }

// replace makes d the driver, if it is for the same place. The old one is closed when nothing uses it any more.
func (s *swap) replace(d ship.Destination) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if was, is := place(s.now.Destination), place(d); was != is {
		return fmt.Errorf("the URL names a different place (%s, was %s): add it under a new name, because it lacks the objects delivered so far", is, was)
	}
	old := s.now
	s.now = &opened{Destination: d}
	go func() {
		old.use.Wait()
		_ = closeDestination(old.Destination) // everything that it has sent is verified
	}()
	return nil
}

// place returns where a destination is; "" if its driver does not say.
func place(d ship.Destination) string {
	if l, ok := d.(ship.Locator); ok {
		return l.Location()
	}
	return ""
}

// borrow returns the driver; it stays open until done is called.
func (s *swap) borrow() (d *opened, done func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now.use.Add(1)
	return s.now, s.now.use.Done
}

// Put implements ship.Destination.
func (s *swap) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	d, done := s.borrow()
	defer done()
	return d.Put(ctx, o, body)
}

// Stat implements ship.Destination.
func (s *swap) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	d, done := s.borrow()
	defer done()
	return d.Stat(ctx, key)
}

// Open implements ship.Destination. The driver stays open until the body is closed.
func (s *swap) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	d, done := s.borrow()
	body, err := d.Open(ctx, key)
	if err != nil || body == nil {
		done()
		return body, err
	}
	return &borrowed{ReadCloser: body, done: sync.OnceFunc(done)}, nil
}

// borrowed is a body that keeps its driver open.
type borrowed struct {
	io.ReadCloser
	done func()
}

func (b *borrowed) Close() error {
	defer b.done()
	return b.ReadCloser.Close()
}

// List implements ship.Lister.
func (s *swap) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		d, done := s.borrow()
		defer done()
		l, ok := d.Destination.(ship.Lister)
		if !ok {
			yield(ship.Entry{}, errors.ErrUnsupported)
			return
		}
		l.List(ctx, prefix)(yield)
	}
}

// Check implements ship.Checker.
func (s *swap) Check(ctx context.Context) error {
	d, done := s.borrow()
	defer done()
	if c, ok := d.Destination.(ship.Checker); ok {
		return c.Check(ctx)
	}
	return errors.ErrUnsupported
}

// Location implements ship.Locator.
func (s *swap) Location() string {
	d, done := s.borrow()
	defer done()
	return place(d.Destination)
}

// Close implements io.Closer.
func (s *swap) Close() error {
	d, done := s.borrow()
	done()
	return closeDestination(d.Destination)
}
