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
	// repeatEvery is how often a repeated line is written, unless Repeats.Every says otherwise.
	repeatEvery = time.Minute
	// repeatMost bounds the remembered lines. Beyond it, all are forgotten, so that some are written once more.
	repeatMost = 256
)

// Repeats writes the first of several equal lines at once, and then one per Every for all of them. The attribute "repeated" is
// the number of equal lines, including this one, since the time "since" of the first. A line counts as a first one again if no
// equal line came within Every of the last one that was written. Otherwise the next line has the sum, however late it comes. The
// zero value is ready for use, and all methods may be called from any goroutine.
//
// It is for operations that are retried again and again, and for events that remote hosts can cause at any rate: their lines
// must neither fill the log nor disappear from it.
type Repeats struct {
	Every time.Duration // default a minute

	mu   sync.Mutex
	last map[string]*repeat
}

// repeat is a line that was written.
type repeat struct {
	first, written time.Time
	all, unwritten uint64
}

// Log writes a line to l, or counts it. Lines are equal if they have the same message and the same attributes other than "err".
func (r *Repeats) Log(l *slog.Logger, level slog.Level, msg string, attrs ...any) {
	if more, due := r.Due(identity(msg, attrs), time.Now()); due {
		l.Log(context.Background(), level, msg, append(attrs, more...)...)
	}
}

// Due counts a line. It reports whether the line must be written now, and returns the attributes that say how many lines it
// stands for.
func (r *Repeats) Due(what string, now time.Time) (attrs []any, due bool) {
	every := r.Every
	if every == 0 {
		every = repeatEvery
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	x := r.last[what]
	switch {
	case x != nil && now.Sub(x.written) < every:
		x.all++
		x.unwritten++
		return nil, false
	case x != nil && x.unwritten > 0:
		x.all++
		x.unwritten, x.written = 0, now
		return append(attrs, "repeated", x.all, "since", x.first), true
	case r.last == nil || len(r.last) >= repeatMost:
		r.last = map[string]*repeat{}
	}
	r.last[what] = &repeat{first: now, written: now, all: 1} // a new line, or one that has not come for a while
	return nil, true
}

// identity identifies a line, without its error.
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
