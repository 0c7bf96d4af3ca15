package main

import (
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestEndWhileAttaching: a successor whose spool is full hears of its end, and keeps what it has in memory.
func TestEndWhileAttaching(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	blocked := filepath.Join(dir, "file")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil { // nothing is delivered, so nothing makes room
		t.Fatal(err)
	}
	c, err := parseFlags([]string{"-spool=" + filepath.Join(dir, "spool"), "-listen=vpn=udp://127.0.0.1:0", "-dest=a=file://" + filepath.Join(blocked, "a"), "-segment-bytes=65536", "-spool-max-bytes=1572864"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	log := slog.New(slog.DiscardHandler)
	classes, err := prepare(t.Context(), c, log)
	if err != nil {
		t.Fatal(err)
	}
	cl := classes[0]
	cl.attaches = newAttaches(t.Context())
	d, err := drain.New(&drain.Options{Dir: dir, Before: []drain.Step{{Name: "holds", Run: cl.attaches.stop}}})
	if err != nil {
		t.Fatal(err)
	}
	cl.hold = ingest.NewHold(&ingest.HoldOptions{MemoryBytes: 64 << 20, Logger: log})
	const n = 400
	for range n {
		batch := []segment.Record{{Time: 1, Data: make([]byte, 8<<10)}}
		cl.hold.Account(segment.Account{Received: segment.Tally{Records: 1, Bytes: 8 << 10}})
		if _, err := cl.hold.Offer(t.Context(), batch); err != nil {
			t.Fatal(err)
		}
	}
	heard, settled := make(chan struct{}), make(chan struct{})
	cl.attaches.busy.Go(func() {
		defer close(settled)
		cl.settle(d, func() {
			select {
			case <-heard:
			default:
				close(heard)
			}
		})
	})
	select {
	case <-heard:
	case <-time.After(10 * time.Second):
		t.Fatal("a full spool keeps the process from hearing of its end")
	}
	for began := time.Now(); !cl.spool.Stats().Full; {
		if time.Since(began) > 10*time.Second {
			t.Fatalf("the spool does not fill up: %+v", cl.spool.Stats())
		}
	}
	r, err := d.Stop(t.Context(), "test")
	if err != nil {
		t.Fatal(err)
	}
	<-settled
	got := r.Classes["vpn"]
	if held := cl.hold.Held(); held.Records != 0 || got.Kept.Records != n || got.Lost[segment.GivenUp].Records != 0 {
		t.Errorf("%d records are still in memory: %s", held.Records, r.JSON())
	}
}
