//go:build !linux

package ingest

import (
	"context"
	"errors"
	"os"
)

// HandOver needs Linux.
func HandOver(context.Context, *Successor) error {
	return errors.New("ingest: hand-over: needs Linux")
}

// Inheritance does not exist on this system.
type Inheritance struct{}

// Inherit returns nil: no predecessor can hand over anything on this system.
func Inherit() (*Inheritance, error) { return nil, nil }

// Take needs Linux.
func (*Inheritance) Take(context.Context, ...string) error { return errors.ErrUnsupported }

// Apply does nothing.
func (*Inheritance) Apply(string, *Options) {}

// File returns nil.
func (*Inheritance) File(string) *os.File { return nil }

// SocketDrops returns 0.
func (*Inheritance) SocketDrops(uint64) uint64 { return 0 }

// Commit needs Linux.
func (*Inheritance) Commit(context.Context) error { return errors.ErrUnsupported }

// Serving does nothing.
func (*Inheritance) Serving() {}
