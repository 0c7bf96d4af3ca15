package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// successor is a class that has taken over, with one record in memory, and its Drainer.
func successor(t *testing.T, dir string, wait time.Duration) (*class, *drain.Drainer) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	c, err := parseFlags([]string{"-spool=" + dir, "-listen=vpn=udp://127.0.0.1:0", "-dest=a=file://" + filepath.Join(dir, "a")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	classes, err := prepare(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	cl := classes[0]
	cl.attaches = newAttaches(t.Context())
	cl.hold = ingest.NewHold(&ingest.HoldOptions{MemoryBytes: 1 << 20, Logger: log})
	cl.hold.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 1}})
	if _, err := cl.hold.Offer(t.Context(), []segment.Record{{Data: []byte("x")}}); err != nil {
		t.Fatal(err)
	}
	d, err := drain.New(&drain.Options{Dir: dir, StopTimeout: wait, Before: []drain.Step{{Name: "holds", Run: cl.attaches.stop}}})
	if err != nil {
		t.Fatal(err)
	}
	d.Down(cl.name, errTakeOver)
	return cl, d
}

// TestEndWithoutSpool ends a successor that does not have its spool yet. Its records in memory are kept if the predecessor
// closes the spool in time. Otherwise they are counted as lost, and the report shows a failure.
func TestEndWithoutSpool(t *testing.T) {
	nowhere(t)
	for name, x := range map[string]struct {
		destination string // of the predecessor
		closes      bool
		cut         bool // the end is cut short, as by a second signal
		lost        uint64
		why         string
	}{
		"the predecessor closes it":  {"a", true, false, 0, ""},
		"the predecessor hangs":      {"a", false, false, 1, "locked"},
		"a destination is not named": {"b", true, false, 1, "pending"},
		"the end is cut short":       {"a", false, true, 1, "locked"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			predecessor, err := spool.Open(filepath.Join(dir, "vpn"), &spool.Options{Class: "vpn", Destinations: []string{x.destination}, MaxBytes: 1 << 30})
			if err != nil {
				t.Fatal(err)
			}
			defer predecessor.Close()
			if _, err := predecessor.Append(t.Context(), []segment.Record{{Data: []byte("before")}}); err != nil {
				t.Fatal(err)
			}
			wait := 10 * time.Second
			if !x.closes && !x.cut {
				wait = 5 * time.Second // all of it passes, and it is long enough for one attempt
			}
			cl, d := successor(t, dir, wait)
			cl.attaches.busy.Go(func() { cl.settle(d, func() {}) })
			if x.closes {
				go func() {
					<-cl.attaches.ending.Done()
					predecessor.Close()
				}()
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if x.cut {
				context.AfterFunc(cl.attaches.ending, cancel)
			}
			r, err := d.Stop(ctx, "test")
			got := r.Classes["vpn"]
			if err != nil || got.Received.Records != 1 && x.lost > 0 || got.Lost[segment.GivenUp].Records != x.lost || !strings.Contains(got.Err, x.why) {
				t.Errorf("%v %s", err, r.JSON())
			}
			if (r.Outcome == drain.Incomplete) != (x.lost > 0) {
				t.Errorf("%d records are lost, and the outcome is %s", x.lost, r.Outcome)
			}
			if x.lost == 0 {
				s, err := spool.Open(filepath.Join(dir, "vpn"), &cl.spoolOptions)
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				if kept := s.Ledger().Kept.Records; kept != 2 {
					t.Errorf("%d records are kept", kept)
				}
			}
		})
	}
}
