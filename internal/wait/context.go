package wait

import (
	"context"
	"errors"
)

// ErrNilContext refuses a call that waits for something and was given no context.
var ErrNilContext = errors.New("nil context: pass context.Background(), or a context that ends the call")

// CheckContext returns ErrNilContext if ctx is nil. Exported functions ask it first: otherwise the call would panic later, in
// another goroutine or only when it has to wait.
func CheckContext(ctx context.Context) error {
	if ctx == nil {
		return ErrNilContext
	}
	return nil
}
