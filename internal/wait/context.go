package wait

import (
	"context"
	"errors"
)

// ErrNilContext is returned by functions that wait for something if their context is nil.
var ErrNilContext = errors.New("nil context: pass context.Background(), or a context that ends the call")

// CheckContext returns ErrNilContext if ctx is nil. Exported functions call it first: otherwise they would panic later, in
// another goroutine or only when they have to wait.
func CheckContext(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	return nil
}
