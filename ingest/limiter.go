package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
)

// logEvery bounds the rate at which a remote host can make a listener log: one line per message in ten seconds.
const logEvery = 10 * time.Second

// limiter writes warnings at a bounded rate per message, regardless of the attributes, since remote hosts choose some of
// them.
type limiter struct {
	log     *slog.Logger
	repeats steadylog.Repeats
}

func newLimiter(log *slog.Logger) *limiter {
	return &limiter{log: log, repeats: steadylog.Repeats{Every: logEvery}}
}

// warn logs msg unless the same was logged less than logEvery ago.
func (l *limiter) warn(msg string, attrs ...any) {
	if more, ok := l.allow(msg, time.Now()); ok {
		l.log.Warn(msg, append(attrs, more...)...)
	}
}

// allow reports whether a line may be written now, and returns attributes that say how many suppressed lines it
// represents.
func (l *limiter) allow(msg string, now time.Time) (more []any, ok bool) {
	return l.repeats.Due(msg, now)
}

// errPanicked means that code of the embedder has panicked. Its state is unknown, so it is not called again.
var errPanicked = errors.New("ingest: the program's own code panicked")

// panicked logs a panic, with its stack, at a bounded rate.
func (l *limiter) panicked(msg string, r any, attrs ...any) {
	if more, ok := l.allow(msg, time.Now()); ok {
		l.log.Error(msg, append(append(attrs, "panic", fmt.Sprint(r), "stack", string(debug.Stack())), more...)...)
	}
}
