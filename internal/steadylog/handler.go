package steadylog

import (
	"context"
	"log/slog"
	"time"
)

const (
	// patience is how long a caller waits for its own line. It is far below one second, which a socket's receive buffer is
	// expected to cover.
	patience = 50 * time.Millisecond
	// grace is how long a handler may take for one line before callers stop waiting for it.
	grace = 2 * time.Second
	// capacity bounds the lines in memory.
	capacity = 1024
)

// Wrap returns a Logger that writes to l's handler through its own queue. For nil it returns one that discards everything. It
// returns a Logger from Wrap, or one derived from such a Logger, unchanged.
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

// Flush waits until every line in l's queue has been written. It returns false if ctx ended first, or if the handler has been
// busy with one line for two seconds. For a Logger without a queue it returns true at once.
func Flush(ctx context.Context, l *slog.Logger) bool {
	h, ok := l.Handler().(*handler)
	return !ok || h.queue.flush(ctx)
}

type keepKey struct{}

// Keep returns a context for lines that must not be dropped while the handler makes progress. If the queue is full, a call with
// this context waits for room, until ctx ends or the handler has been busy with one line for two seconds.
func Keep(ctx context.Context) context.Context { return context.WithValue(ctx, keepKey{}, true) }

// handler puts a queue in front of another handler. Handlers derived from it share the queue, so that lines keep their order.
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

// Handle always returns nil: a line may be written after the call, when it is too late to return an error.
func (h *handler) Handle(ctx context.Context, r slog.Record) error {
	keep, _ := ctx.Value(keepKey{}).(bool)
	// The handler may read values from the context long after the call has returned.
	h.queue.put(ctx, &line{ctx: context.WithoutCancel(ctx), to: h.next, record: r.Clone(), written: make(chan struct{})}, keep)
	return nil
}
