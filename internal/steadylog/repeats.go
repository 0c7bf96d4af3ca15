package steadylog

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// repeatEvery is how often a line that repeats is written.
	repeatEvery = time.Minute
	// repeatMost bounds the lines that are remembered. Beyond it, all are forgotten, and some are written once more.
	repeatMost = 256
)

// Repeats writes the first of several equal lines at once, and then one a minute with what came in between: "repeated" is how often,
// "since" the time of the first. Lines are equal if they have the same message and the same attributes, whatever "err" says. The
// zero value is ready, and all methods may be called from any goroutine.
//
// It is for operations that are tried again and again: a disk that refuses each attempt must neither fill the log nor fall silent.
type Repeats struct {
	mu   sync.Mutex
	last map[string]*repeat
}

// repeat is a line that was written.
type repeat struct {
	first, written time.Time
	unwritten      uint64
}

// Log writes a line to l, or counts it.
func (r *Repeats) Log(l *slog.Logger, level slog.Level, msg string, attrs ...any) {
	n, since := r.note(identity(msg, attrs), time.Now())
	switch {
	case n == 0:
		return
	case n > 1:
		attrs = append(attrs, "repeated", n, "since", since)
	}
	l.Log(context.Background(), level, msg, attrs...)
}

// note counts a line, and returns how many the one that is due stands for: 0 if none is due, 1 if it is the first.
func (r *Repeats) note(what string, now time.Time) (n uint64, since time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.last[what]
	switch {
	case x != nil && now.Sub(x.written) < repeatEvery:
		x.unwritten++
		return 0, x.first
	case x != nil && x.unwritten > 0:
		n, x.unwritten, x.written = x.unwritten+1, 0, now
		return n, x.first
	case r.last == nil || len(r.last) >= repeatMost:
		r.last = map[string]*repeat{}
	}
	r.last[what] = &repeat{first: now, written: now} // new, or over for more than a minute
	return 1, now
}

// identity is a line without its error.
func identity(msg string, attrs []any) string {
	var b strings.Builder
	b.WriteString(msg)
	for i := 0; i+1 < len(attrs); i += 2 {
		if attrs[i] != "err" {
			fmt.Fprintf(&b, "\x00%v=%v", attrs[i], attrs[i+1])
		}
	}
	return b.String()
}
