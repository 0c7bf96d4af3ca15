package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

func records(n int) (batch []segment.Record) {
	for i := range n {
		batch = append(batch, segment.Record{Data: []byte(numbered(i))})
	}
	return batch
}

// A sink that takes no more than 3 records at once still gets all of them, once and in order.
func TestDeliverInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got []string
		take := func(_ context.Context, b []segment.Record) (uint64, error) {
			if len(b) > 3 {
				return 0, errors.New("too much at once")
			}
			for _, r := range b {
				got = append(got, string(r.Data))
			}
			return uint64(len(got)), nil
		}
		batch := records(20)
		if left := deliver(t.Context(), take, batch, newLimiter(slog.New(slog.DiscardHandler))); len(left) > 0 {
			t.Fatalf("%d left", len(left))
		}
		for i, g := range got {
			if g != numbered(i) {
				t.Fatalf("%q in place %d", g, i)
			}
		}
		if len(got) != len(batch) {
			t.Errorf("got %d", len(got))
		}
	})
}

// An endless failure is tried again at least each second, and ends with the context.
func TestDeliverBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var last time.Time
		tries := 0
		fail := func(context.Context, []segment.Record) (uint64, error) {
			if d := time.Since(last); tries > 0 && d > time.Second {
				t.Errorf("pause of %v", d)
			}
			last = time.Now()
			tries++
			return 0, errors.New("no")
		}
		if left := deliver(ctx, fail, records(5), newLimiter(slog.New(slog.DiscardHandler))); len(left) != 5 {
			t.Errorf("%d left", len(left))
		}
		if tries < 60 || tries > 80 {
			t.Errorf("%d tries", tries)
		}
	})
}

// What the sink took late, or rejected with a wrapped error, is not offered again.
func TestDeliverOnce(t *testing.T) {
	for _, answer := range []struct {
		last uint64
		err  error
	}{{7, errors.New("not kept yet")}, {0, fmt.Errorf("spool: %w", errFull{})}, {0, nil}} {
		calls := 0
		once := func(context.Context, []segment.Record) (uint64, error) { calls++; return answer.last, answer.err }
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if left := deliver(ctx, once, records(2), newLimiter(slog.New(slog.DiscardHandler))); len(left) > 0 || calls != 1 {
			t.Errorf("%v: %d left after %d calls", answer, len(left), calls)
		}
	}
}

// One line per message and ten seconds, with the number of all of them.
func TestLimiter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(slog.New(slog.DiscardHandler))
		var got []string
		for range 25 {
			if more, ok := l.allow("m", time.Now()); ok {
				got = append(got, fmt.Sprint(append(more, "repeated", 1)[1]))
			}
			time.Sleep(time.Second)
		}
		if _, ok := l.allow("other", time.Now()); !ok {
			t.Error("messages do not have limits of their own")
		}
		if !slices.Equal(got, []string{"1", "11", "21"}) {
			t.Errorf("%v", got)
		}
	})
}
