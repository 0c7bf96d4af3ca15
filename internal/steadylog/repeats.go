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
	// repeatEvery is how often a line that repeats is written, unless Repeats says otherwise.
	repeatEvery = time.Minute
	// repeatMost bounds the lines that are remembered. Beyond it, all are forgotten, and some are written once more.
	repeatMost = 256
)

// Repeats writes the first of several equal lines at once, and then one each Every for all of them: "repeated" is how many there were,
// itself included, since the time "since" of the first. A line is a first one again if,
// after the last one that was written, none came within Every. Otherwise the next line has the sum, however late it comes.
// The zero value is ready, and all methods may be called from any goroutine.
//
// It is for operations that are tried again and again, and for what remote hosts can cause at any rate: neither must fill the log nor
// fall silent.
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

// Log writes a line to l, or counts it. Lines are equal if they have the same message and the same attributes, whatever "err" says.
func (r *Repeats) Log(l *slog.Logger, level slog.Level, msg string, attrs ...any) {
	if more, due := r.Due(identity(msg, attrs), time.Now()); due {
		l.Log(context.Background(), level, msg, append(attrs, more...)...)
	}
}

// Due counts a line, and reports whether it is to be written now, with the attributes that say what it stands for.
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
	r.last[what] = &repeat{first: now, written: now, all: 1} // new, or over for a while
	return nil, true
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
