package ingest

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"
)

// logEvery bounds the rate at which a remote host can make a listener log: one line per message in ten seconds.
const logEvery = 10 * time.Second

// limiter writes warnings at a bounded rate. A line that stands for several says how many (repeated), and since when.
type limiter struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]*silence // by message: constants of this package, so the map is small
}

type silence struct {
	since   time.Time // of the last line
	until   time.Time
	skipped uint64
}

// repeats are the attributes of a line that stands for those that were skipped since an earlier one, too.
func repeats(skipped uint64, since time.Time) []any {
	if skipped == 0 {
		return nil
	}
	return []any{"repeated", skipped + 1, "since", since}
}

func newLimiter(log *slog.Logger) *limiter {
	return &limiter{log: log, last: make(map[string]*silence)}
}

// warn logs msg unless the same was logged less than logEvery ago.
func (l *limiter) warn(msg string, attrs ...any) {
	if more, ok := l.allow(msg, time.Now()); ok {
		l.log.Warn(msg, append(attrs, more...)...)
	}
}

// allow reports whether a line may be written now, and returns the attributes that say what it stands for.
func (l *limiter) allow(msg string, now time.Time) (more []any, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.last[msg]
	if s == nil {
		s = &silence{}
		l.last[msg] = s
	}
	if now.Before(s.until) {
		s.skipped++
		return nil, false
	}
	more = repeats(s.skipped, s.since)
	s.skipped, s.since, s.until = 0, now, now.Add(logEvery)
	return more, true
}

// errPanicked: code of the embedder has panicked. Its state is unknown, so it is not called again.
var errPanicked = errors.New("ingest: code that the program has added panicked")

// panicked logs a panic, with its stack, at a bounded rate.
func (l *limiter) panicked(msg string, r any, attrs ...any) {
	if more, ok := l.allow(msg, time.Now()); ok {
		l.log.Error(msg, append(append(attrs, "panic", fmt.Sprint(r), "stack", string(debug.Stack())), more...)...)
	}
}
