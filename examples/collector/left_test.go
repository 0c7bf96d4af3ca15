package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestLeftClass: a class that nobody listens for any more, in whose spool records wait, is delivered, and a drain is not
// complete without it: the disk goes with the instance.
func TestLeftClass(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	spools := filepath.Join(dir, "spool")
	fill := func(class string, n int) *spool.Spool {
		t.Helper()
		s, err := spool.Open(filepath.Join(spools, class), &spool.Options{Class: class, Destinations: []string{"a"}, MaxBytes: 1 << 30})
		if err != nil {
			t.Fatal(err)
		}
		for range n {
			if _, err := s.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("left")}}); err != nil {
				t.Fatal(err)
			}
		}
		return s
	}
	busy := fill("busy", 1) // somebody else's
	defer busy.Close()
	err := errors.Join(
		fill("old", 10).Close(), fill("empty", 0).Close(), os.MkdirAll(filepath.Join(spools, "other"), 0o750),
		fill("moved", 1).Close(), os.Rename(filepath.Join(spools, "moved"), filepath.Join(spools, "odd")), // cannot be opened there
	)
	if err != nil {
		t.Fatal(err)
	}
	c, err := parseFlags([]string{"-spool=" + spools, "-listen=vpn=udp://127.0.0.1:0", "-dest=a=file://" + filepath.Join(dir, "a")}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if left := leftClasses(c); strings.Join(left, " ") != "odd old" {
		t.Errorf("left: %q", left)
	}
	d, err := drain.New(&drain.Options{Dir: spools, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runLeft(ctx, c, d, slog.New(slog.DiscardHandler))
	r, err := d.Drain(ctx, "test")
	if a := r.Classes["old"].Destinations["a"]; err != nil || a.Delivered.Records != 10 || !a.Verified {
		t.Errorf("%v %s", err, r.JSON())
	}
	if r.Outcome != drain.Incomplete || r.Classes["odd"].Err == "" || len(r.Classes) != 2 {
		t.Errorf("a class that cannot be opened: %s", r.JSON())
	}
}
