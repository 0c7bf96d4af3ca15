package testserver

import (
	"bytes"
	"sync"
)

// Log is a log that may be read while it is written.
type Log struct {
	mu   sync.Mutex
	b    bytes.Buffer
	text string        // see await
	seen chan struct{} // closed when text is in the log; nil if nobody waits for it
}

// Write never fails.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, err := l.b.Write(p)
	l.look()
	return n, err
}

// await returns a channel that is closed when text is in the log. It must be called only once.
func (l *Log) await(text string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	seen := make(chan struct{})
	l.text, l.seen = text, seen
	l.look()
	return seen
}

// look closes seen if the text is there.
func (l *Log) look() {
	if l.seen != nil && bytes.Contains(l.b.Bytes(), []byte(l.text)) {
		close(l.seen)
		l.seen = nil
	}
}

// String returns what was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
