package ingest

import (
	"log/slog"
	"testing"

	"github.com/penstock-go/penstock/internal/giveway"
)

// queue is a receiver of which only counts is called.
type queue struct {
	receiver
	bytes uint32
}

func (q *queue) counts() (socketCounts, bool) { return socketCounts{queued: q.bytes}, true }

// A socket asks encoders to give way at each burst while its queue is long, and only then.
func TestPressed(t *testing.T) {
	for name, c := range map[string]struct {
		bytes   uint32
		buffer  int
		pressed bool
	}{
		"empty":   {0, 1 << 20, false},
		"short":   {1 << 17, 1 << 20, false},
		"long":    {1<<17 + 1, 1 << 20, true},
		"unknown": {1 << 20, 0, false},
	} {
		q := &queue{bytes: c.bytes}
		s := &socket{recv: q, buffer: c.buffer, sink: newSink(), log: newLimiter(slog.New(slog.DiscardHandler))}
		s.poll()
		for range 3 {
			y := giveway.NewYielder()
			s.pollIfDue(s.polled) // no time has passed
			if s.pressed != c.pressed {
				t.Errorf("%s: pressed %v", name, s.pressed)
			}
			if c.pressed && !y.Behind() { // otherwise another listener of this process may be behind
				t.Errorf("%s: it does not say that it is behind", name)
			}
		}
		q.bytes = 0
		s.poll()
		if s.pressed {
			t.Errorf("%s: still pressed", name)
		}
	}
}
