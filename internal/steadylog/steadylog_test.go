package steadylog

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// gate is a log that its reader may stop reading.
type gate struct {
	mu      sync.Mutex
	open    chan struct{} // closed: lines pass
	perLine time.Duration
	out     bytes.Buffer
}

func (g *gate) Write(p []byte) (int, error) {
	<-g.open
	time.Sleep(g.perLine) // fake time: the handler of a slow reader
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.out.Write(p)
}

func (g *gate) lines() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Split(strings.TrimSpace(g.out.String()), "\n")
}

func newGate() (*gate, *slog.Logger) {
	g := &gate{open: make(chan struct{})}
	return g, Wrap(slog.New(slog.NewTextHandler(g, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}})))
}

func TestWrittenBeforeTheCallReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGate()
		close(g.open)
		for i := range 3 {
			log.With("n", i).WithGroup("g").Info("line", "a", 1)
			if got := g.lines(); len(got) != i+1 || got[i] != fmt.Sprintf("level=INFO msg=line n=%d g.a=1", i) {
				t.Fatalf("after line %d the log is %q", i, got)
			}
		}
	})
}

func TestStuckReaderDelaysNobodyForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGate()
		began := time.Now()
		for i := range capacity + 11 { // one is being written, capacity wait, 10 are dropped
			log.Info("line", "n", i)
		}
		if took := time.Since(began); took != patience {
			t.Errorf("callers waited %v in total, want %v", took, patience)
		}
		close(g.open)
		synctest.Wait()
		got := g.lines()
		if len(got) != capacity+2 {
			t.Fatalf("%d lines, want %d and the count of the dropped", len(got), capacity+1)
		}
		if want := `level=WARN msg="log: lines were dropped because the log was not read, or its handler panicked" dropped=10`; got[1] != want {
			t.Errorf("the second line is %q, want %q", got[1], want)
		}
		if got[0] != "level=INFO msg=line n=0" || got[capacity+1] != fmt.Sprintf("level=INFO msg=line n=%d", capacity) {
			t.Errorf("first %q, last %q", got[0], got[capacity+1])
		}
		began = time.Now()
		log.Info("again")
		if time.Since(began) != 0 || g.lines()[capacity+2] != "level=INFO msg=again" {
			t.Error("a line after the reader is back was not written before the call returned")
		}
	})
}

func TestKeptLinesWaitForAReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGate()
		g.perLine = 100 * time.Millisecond
		close(g.open)
		for i := range 3 * capacity {
			log.Info("line", "n", i)
		}
		keep := Keep(context.Background())
		for i := range 10 {
			log.InfoContext(keep, "report", "n", i)
		}
		if !Flush(context.Background(), log) {
			t.Error("Flush gave up although the reader reads")
		}
		got := g.lines()
		for i := range 10 {
			if want := fmt.Sprintf("level=INFO msg=report n=%d", i); got[len(got)-10+i] != want {
				t.Errorf("line %d from the end is %q, want %q", 10-i, got[len(got)-10+i], want)
			}
		}
	})
}

func TestNobodyWaitsForADeadReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGate()
		for range 2 * capacity {
			log.Info("line")
		}
		began := time.Now()
		log.InfoContext(Keep(context.Background()), "report")
		if took := time.Since(began); took != grace {
			t.Errorf("a kept line waited %v for a reader that does not read, want %v", took, grace)
		}
		log.InfoContext(Keep(context.Background()), "report")
		if Flush(context.Background(), log) {
			t.Error("Flush says that everything is written")
		}
		if took := time.Since(began); took != grace {
			t.Errorf("further callers waited until %v for a handler that is known to be dead, want %v", took, grace)
		}
		close(g.open)
		synctest.Wait()
	})
}

func TestFlushEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g, log := newGate()
		log.Info("line")
		began := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if Flush(ctx, log) || time.Since(began) != time.Second {
			t.Errorf("Flush returned after %v", time.Since(began))
		}
		close(g.open)
		if !Flush(context.Background(), log) || len(g.lines()) != 1 {
			t.Error("Flush after the reader is back did not wait for the line")
		}
	})
}

func TestWrapIsIdempotent(t *testing.T) {
	_, log := newGate()
	if Wrap(log) != log {
		t.Error("a wrapped Logger was wrapped again")
	}
	if l := log.With("a", 1); Wrap(l) != l {
		t.Error("a Logger derived from a wrapped one was wrapped again")
	}
	if l := slog.New(slog.DiscardHandler); Wrap(l) != l {
		t.Error("a Logger that discards got a queue")
	}
	if !Flush(context.Background(), slog.Default()) {
		t.Error("a Logger without a queue has something to wait for")
	}
}

// angry panics when it writes certain lines.
type angry struct{ slog.Handler }

func (h angry) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "panic" {
		panic(r.Message)
	}
	return h.Handler.Handle(ctx, r)
}

// TestPanic: a handler that panics loses the line, which is counted, and does not end the process.
func TestPanic(t *testing.T) {
	var out bytes.Buffer
	l := Wrap(slog.New(angry{slog.NewTextHandler(&out, nil)}))
	l.Info("panic")
	l.Info("after it")
	if !Flush(t.Context(), l) || !strings.Contains(out.String(), "after it") || !strings.Contains(out.String(), "dropped=1") {
		t.Errorf("%s", &out)
	}
}
