package main

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestSwapConforms: a swap conforms to the contract of a destination, like its driver.
func TestSwapConforms(t *testing.T) {
	shiptest.Run(t, func(t *testing.T) ship.Destination { return newSwap(shiptest.Memory()) })
}

// slow is a destination with a location; it must be closed once.
type slow struct {
	ship.Destination
	at     string
	gate   chan struct{}
	closed chan struct{}
}

func (s *slow) Location() string { return s.at }
func (s *slow) Close() error     { close(s.closed); return nil }

func (s *slow) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	<-s.gate
	return s.Destination.Stat(ctx, key)
}

// TestSwap: a call in progress ends with the driver that it began with, which is closed afterwards; the next call uses the new
// driver. A driver for another place is refused.
func TestSwap(t *testing.T) {
	store := shiptest.Memory()
	open := func(at string) *slow {
		return &slow{Destination: store, at: at, gate: make(chan struct{}), closed: make(chan struct{})}
	}
	old, other, next := open("here"), open("elsewhere"), open("here")
	s := newSwap(old)
	o := ship.BytesObject("class=vpn/x", "", []byte("x"))
	if _, err := s.Put(t.Context(), o, io.NewSectionReader(bytes.NewReader([]byte("x")), 0, 1)); err != nil {
		t.Fatal(err)
	}
	body, err := s.Open(t.Context(), o.Key)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan error, 1)
	d, done := s.borrow() // as a call in progress does
	go func() {
		defer done()
		_, err := d.Stat(t.Context(), "absent")
		asked <- err
	}()
	if err := s.replace(other); err == nil || !strings.Contains(err.Error(), "different place") {
		t.Errorf("another place: %v", err)
	}
	if err := s.replace(next); err != nil {
		t.Fatal(err)
	}
	close(next.gate)
	if _, err := s.Stat(t.Context(), o.Key); err != nil {
		t.Error(err)
	}
	close(old.gate)
	if err := <-asked; !errorsIsNotExist(err) {
		t.Error(err)
	}
	select {
	case <-old.closed:
		t.Error("the old driver is closed while a body of it is being read")
	default:
	}
	if b, err := io.ReadAll(body); err != nil || string(b) != "x" {
		t.Error(b, err)
	}
	if err := body.Close(); err != nil {
		t.Error(err)
	}
	<-old.closed
}

func errorsIsNotExist(err error) bool {
	return err != nil && strings.Contains(err.Error(), fs.ErrNotExist.Error())
}
