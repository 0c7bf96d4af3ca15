package steadylog

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/foreign"
	"github.com/penstock-go/penstock/internal/wait"
)

// line is a record waiting for its handler.
type line struct {
	ctx     context.Context
	to      slog.Handler
	record  slog.Record
	written chan struct{} // closed when the handler has returned
}

// queue holds the lines that wait for a handler. One goroutine writes them, and exists only while there are lines, so that it
// need not be stopped.
type queue struct {
	mu      sync.Mutex
	lines   []*line
	current *line // being written; nil: no goroutine is running
	stuck   bool  // a caller has stopped waiting, and the queue has not been empty since then
	dead    *line // the line with which the handler has been busy for longer than grace
	dropped uint64
}

// put appends a line and waits until it is written: at most for patience, and not at all once the handler is stuck. If keep is
// set, it first waits for room in the queue as long as the handler makes progress.
func (q *queue) put(ctx context.Context, l *line, keep bool) {
	q.mu.Lock()
	for keep && len(q.lines) >= capacity {
		keep = q.progress(ctx)
	}
	if len(q.lines) >= capacity {
		q.dropped++
		q.mu.Unlock()
		return
	}
	q.lines = append(q.lines, l)
	if q.current == nil {
		q.next()
		go q.write(q.current)
	}
	stuck := q.stuck
	q.mu.Unlock()
	if stuck || awaitWritten(context.WithoutCancel(ctx), l, patience) {
		return
	}
	q.mu.Lock()
	q.stuck = q.current != nil
	q.mu.Unlock()
}

// next makes the oldest line the current one. q.mu is held.
func (q *queue) next() {
	q.current = q.lines[0]
	q.lines[0] = nil
	q.lines = q.lines[1:]
}

// write passes lines to their handlers until none is left.
func (q *queue) write(l *line) {
	for l != nil {
		q.handle(l)
		close(l.written)
		l = q.after(l)
	}
}

// handle passes a line to its handler. If the handler panics, the line is counted as dropped: otherwise nobody would learn of
// the panic, which must not end the process.
func (q *queue) handle(l *line) {
	err := foreign.Catch("slog.Handler", func() error { return l.to.Handle(l.ctx, l.record) })
	if _, ok := errors.AsType[*foreign.PanicError](err); ok {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.dropped++
	}
}

// after returns the line to write next, nil if there is none.
func (q *queue) after(done *line) *line {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.dropped > 0 && done.to.Enabled(context.Background(), slog.LevelWarn):
		// Log it as soon as there is room again, as close as possible to the place of the missing lines.
		r := slog.NewRecord(time.Now(), slog.LevelWarn, "log: lines were dropped because the log was not read, or its handler panicked", 0)
		r.AddAttrs(slog.Uint64("dropped", q.dropped))
		q.dropped = 0
		q.current = &line{ctx: context.Background(), to: done.to, record: r, written: make(chan struct{})}
	case len(q.lines) > 0:
		q.next()
	default:
		q.current, q.lines, q.stuck, q.dead = nil, nil, false, nil
	}
	return q.current
}

// flush waits until the queue is empty.
func (q *queue) flush(ctx context.Context) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.current != nil {
		if !q.progress(ctx) {
			return false
		}
	}
	return true
}

// progress waits until the current line has been written. It returns false if ctx ends first, or if the handler takes longer
// than grace. It waits for grace only once per line, so that the next caller does not wait for a handler that is known to be
// dead. q.mu is held at call and return.
func (q *queue) progress(ctx context.Context) bool {
	current := q.current
	if current == q.dead {
		return false
	}
	q.mu.Unlock()
	written := awaitWritten(ctx, current, grace)
	q.mu.Lock()
	if !written && ctx.Err() == nil {
		q.dead = current
	}
	return written
}

// awaitWritten reports whether l was written before ctx ended and within d.
func awaitWritten(ctx context.Context, l *line, d time.Duration) bool {
	_, written := wait.Receive(ctx, d, l.written)
	return written
}
