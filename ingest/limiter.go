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

// limiter writes warnings at a bounded rate, each with the number of lines that were suppressed before it.
type limiter struct {
	log *slog.Logger

	mu   sync.Mutex
	last map[string]*silence // by message: constants of this package, so the map is small
}

type silence struct {
	until   time.Time
	skipped uint64
}

func newLimiter(log *slog.Logger) *limiter {
	return &limiter{log: log, last: make(map[string]*silence)}
}

// warn logs msg unless the same was logged less than logEvery ago.
func (l *limiter) warn(msg string, attrs ...any) {
	if skipped, ok := l.allow(msg, time.Now()); ok {
		if skipped > 0 {
			attrs = append(attrs, "suppressed", skipped)
		}
		l.log.Warn(msg, attrs...)
	}
}

func (l *limiter) allow(msg string, now time.Time) (skipped uint64, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.last[msg]
	if s == nil {
		s = &silence{}
		l.last[msg] = s
	}
	if now.Before(s.until) {
		s.skipped++
		return 0, false
	}
	skipped, s.skipped = s.skipped, 0
	s.until = now.Add(logEvery)
	return skipped, true
}

// errPanicked: code of the embedder has panicked. Its state is unknown, so it is not called again.
var errPanicked = errors.New("ingest: code that the program has added panicked")

// panicked logs a panic, with its stack, at a bounded rate.
func (l *limiter) panicked(msg string, r any, attrs ...any) {
	if skipped, ok := l.allow(msg, time.Now()); ok {
		l.log.Error(msg, append(attrs, "panic", fmt.Sprint(r), "stack", string(debug.Stack()), "suppressed", skipped)...)
	}
}
