package steadylog

import (
	"context"
	"log/slog"
	"time"
)

const (
	// patience is how long a caller waits for its own line. It is far below the second for which a socket's receive buffer
	// should last.
	patience = 50 * time.Millisecond
	// grace is how long a handler may take for one line before callers stop waiting for it.
	grace = 2 * time.Second
	// capacity bounds the lines in memory.
	capacity = 1024
)

// Wrap returns a Logger that writes to l's handler through a queue of its own; for nil, one that discards everything. A
// Logger that Wrap has returned, or that was derived from one, is returned unchanged.
func Wrap(l *slog.Logger) *slog.Logger {
	if l == nil {
		return slog.New(slog.DiscardHandler)
	}
	if l.Handler() == slog.DiscardHandler {
		return l
	}
	if _, ok := l.Handler().(*handler); ok {
		return l
	}
	return slog.New(&handler{next: l.Handler(), queue: &queue{}})
}

// Flush waits until every line that l's queue holds has been written. It returns false if ctx ended first, or if the
// handler has been busy with one line for two seconds. A Logger without a queue has nothing to wait for.
func Flush(ctx context.Context, l *slog.Logger) bool {
	h, ok := l.Handler().(*handler)
	return !ok || h.queue.flush(ctx)
}

type keepKey struct{}

// Keep returns a context for lines that must not be dropped while the handler makes progress. If the queue is full, a call
// with it waits for room: until ctx ends, or until the handler has been busy with one line for two seconds.
func Keep(ctx context.Context) context.Context { return context.WithValue(ctx, keepKey{}, true) }

// handler puts a queue in front of another handler. Handlers derived from it share the queue, so that lines keep their
// order.
type handler struct {
	next  slog.Handler
	queue *queue
}

func (h *handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h *handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &handler{h.next.WithAttrs(attrs), h.queue}
}

func (h *handler) WithGroup(name string) slog.Handler {
	return &handler{h.next.WithGroup(name), h.queue}
}

// Handle never fails: a line may be written after the call, when its error can no longer be returned.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	keep, _ := ctx.Value(keepKey{}).(bool)
	// The handler may read values from the context long after the call has returned.
	h.queue.put(ctx, &line{ctx: context.WithoutCancel(ctx), to: h.next, record: r.Clone(), written: make(chan struct{})}, keep)
	return nil
}
