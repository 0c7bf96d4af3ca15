package ingest

import (
	"context"
	"errors"
	"fmt"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/wait"
)

// checkContext refuses a nil context.
func checkContext(ctx context.Context) error {
	if err := wait.CheckContext(ctx); err != nil {
		return fmt.Errorf("ingest: %w", err)
	}
	return nil
}

// checkSink refuses a Sink that is nil or that holds a nil pointer: otherwise the first record would cause a panic.
func checkSink(sink Sink) error {
	if foreign.IsNil(sink) {
		return fmt.Errorf("%w (%T)", errNoSink, sink)
	}
	return nil
}

var errNoSink = errors.New("ingest: the Sink is nil")
