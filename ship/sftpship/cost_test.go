package sftpship

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/penstock-go/penstock/internal/test/testserver"
	"github.com/penstock-go/penstock/ship"
)

// costs is a log handler that keeps what each operation cost.
type costs struct {
	mu  sync.Mutex
	ops map[string][2]int64 // requests and round trips, by the first word of what it is
}

func (c *costs) Enabled(context.Context, slog.Level) bool { return true }
func (c *costs) WithAttrs([]slog.Attr) slog.Handler       { return c }
func (c *costs) WithGroup(string) slog.Handler            { return c }

func (c *costs) Handle(_ context.Context, r slog.Record) error {
	if r.Message != "sftpship: operation" {
		return nil
	}
	var what string
	var cost [2]int64
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "operation":
			what, _, _ = strings.Cut(a.Value.String(), " ")
		case "requests":
			cost[0] = a.Value.Int64()
		case "round_trips":
			cost[1] = a.Value.Int64()
		}
		return true
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ops[what] = cost
	return nil
}

// of returns what the last operation of a kind cost.
func (c *costs) of(what string) (requests, trips int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ops[what][0], c.ops[what][1]
}

// TestCost: how many requests and round trips an object costs on OpenSSH. At a latency of 0.6 s, each round trip of an
// object takes 0.6 s; a drain has 60 s.
func TestCost(t *testing.T) {
	t.Parallel()
	s := testserver.StartSSHD(t, "ForceCommand internal-sftp")
	c := &costs{ops: make(map[string][2]int64)}
	h := open(t, s.URL("d"), &Options{Logger: slog.New(c)})
	put := func(key string, size int) (o ship.Object, body *io.SectionReader) {
		o, body = objectOf(key, size)
		if _, err := h.Put(bounded(t), o, body); err != nil {
			t.Fatal(err)
		}
		return o, body
	}
	within := func(what, op string, maxRequests, maxTrips int64) {
		t.Helper()
		requests, trips := c.of(op)
		t.Logf("%s: %d requests, %d round trips", what, requests, trips)
		if requests > maxRequests || trips > maxTrips || requests < trips || trips < 1 {
			t.Errorf("%s: %d requests and %d round trips, want at most %d and %d", what, requests, trips, maxRequests, maxTrips)
		}
	}
	put("class=a/dt=b/hour=1/a", 1000)
	within("first object, which makes all directories", "put", 60, 11)
	for size, data := range map[int]int64{0: 0, 1000: 2, 1 << 20: 10, 8 << 20: 66} {
		o, body := put("class=a/dt=b/hour=1/"+fmt.Sprint(size), size)
		within("new object", "put", 15+data, 5)
		if _, err := h.Put(bounded(t), o, body); err != nil {
			t.Fatal(err)
		}
		within("the same again, as Verify does", "put", 8+data/2, 2)
		if _, err := h.Stat(bounded(t), o.Key); err != nil {
			t.Fatal(err)
		}
		within("Stat", "stat", 1, 1)
		r, err := h.Open(bounded(t), o.Key)
		if err != nil {
			t.Fatal(err)
		}
		within("Open", "open", 2, 1)
		r.Close()
	}
	put("class=a/dt=b/hour=2/a", 1000)
	within("first object of an hour", "put", 25, 8)
	if err := h.Check(bounded(t)); err != nil {
		t.Fatal(err)
	}
	within("Check", "check", 25, 7)
}
