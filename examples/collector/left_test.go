package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestLeftClass: a class without a listener whose spool has pending records is delivered, and a drain is not complete without
// it: the disk is lost with the instance.
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
	busy := fill("busy", 1) // another process's
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
	if owing, held, err := leftClasses(c); strings.Join(owing, " ") != "odd old" || strings.Join(held, " ") != "busy" || err != nil {
		t.Errorf("left: %q, held: %q, %v", owing, held, err)
	}
	d, err := drain.New(&drain.Options{Dir: spools, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	runLeft(ctx, c, d, slog.New(slog.DiscardHandler), func() bool { return false })
	r, err := d.Drain(ctx, "test")
	if a := r.Classes["old"].Destinations["a"]; err != nil || a.Delivered.Records != 10 || !a.Verified {
		t.Errorf("%v %s", err, r.JSON())
	}
	if r.Outcome != drain.Incomplete || r.Classes["odd"].Err == "" || r.Classes["busy"].Err == "" || len(r.Classes) != 3 {
		t.Errorf("a class that cannot be opened: %s", r.JSON())
	}
}

// TestLeftClassHeld: a spool that another process has open is delivered once that process closes it. No drain is complete
// before that: the predecessor closes its spools one by one. Another collector with the same -spool keeps its own.
func TestLeftClassHeld(t *testing.T) {
	nowhere(t)
	for name, x := range map[string]struct {
		records             int
		predecessor, closes time.Duration // for this time it exists, and has the spool open
		again, waits        time.Duration // when somebody has it open again, and the drain begins: default never, and after a minute
		delivered, down     bool
	}{
		"the predecessor closes it late":       {records: 10, predecessor: 40 * time.Second, closes: 30 * time.Second, delivered: true},
		"the predecessor has delivered it":     {predecessor: 40 * time.Second, closes: 30 * time.Second},
		"the predecessor still has it":         {records: 10, predecessor: time.Hour, closes: time.Hour, down: true},
		"a program looks at it":                {records: 10, closes: 5 * time.Second, delivered: true},
		"a repair takes half a minute":         {records: 10, closes: 30 * time.Second, waits: 5 * time.Minute, delivered: true},
		"another collector restarts":           {records: 10, closes: 30 * time.Second, again: time.Minute, waits: 5 * time.Minute},
		"another collector delivers it":        {records: 10, closes: time.Hour},
		"another one, and a predecessor ended": {records: 10, predecessor: 30 * time.Second, closes: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			spools := filepath.Join(dir, "spool")
			c, err := parseFlags([]string{"-spool=" + spools, "-listen=vpn=udp://127.0.0.1:0", "-dest=a=file://" + filepath.Join(dir, "a")}, io.Discard)
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				other, err := spool.Open(filepath.Join(spools, "old"), &spool.Options{Class: "old", Destinations: []string{"a"}, MaxBytes: 1 << 30})
				if err != nil {
					t.Fatal(err)
				}
				defer other.Close()
				for range x.records {
					if _, err := other.Append(t.Context(), []segment.Record{{Time: 1, Data: []byte("left")}}); err != nil {
						t.Fatal(err)
					}
				}
				began := time.Now()
				defer time.AfterFunc(x.closes, func() { other.Close() }).Stop()
				d, err := drain.New(&drain.Options{Dir: spools, Timeout: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				runLeft(ctx, c, d, slog.New(slog.DiscardHandler), func() bool { return time.Since(began) < x.predecessor })
				if d.Stats().Down["old"] == nil {
					t.Error("it is not down at first")
				}
				if x.again > 0 {
					<-time.After(x.again)
					again, err := spool.Open(filepath.Join(spools, "old"), &spool.Options{Class: "old", Destinations: []string{"a"}, MaxBytes: 1 << 30})
					if err != nil {
						t.Fatal(err)
					}
					defer again.Close()
				}
				<-time.After(max(time.Minute, x.waits) - x.again)
				if err := d.Stats().Down["old"]; (err != nil) != x.down {
					t.Errorf("before the drain it is down: %v", err)
				}
				r, err := d.Drain(ctx, "test")
				a, has := r.Classes["old"]
				if err != nil || has != (x.delivered || x.down) || x.delivered && !a.Destinations["a"].Verified || x.down && r.Outcome != drain.Incomplete {
					t.Errorf("%v %s", err, r.JSON())
				}
			})
		})
	}
}

// TestLeftUnreadable: a spool that cannot be inspected may hold records, so its class is down.
func TestLeftUnreadable(t *testing.T) {
	nowhere(t)
	dir := t.TempDir()
	c, err := parse(t, "-spool="+dir)
	if err != nil {
		t.Fatal(err)
	}
	loop := filepath.Join(dir, "loop") // a stand-in for a disk that fails: os.Stat returns an error
	if err := os.Symlink("loop", loop); err != nil {
		t.Skip(err)
	}
	if owing, _, err := leftClasses(c); !slices.Contains(owing, "loop") || err != nil {
		t.Errorf("%q, %v", owing, err)
	}
	c.spoolDir = filepath.Join(loop, "x")
	d, err := drain.New(&drain.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	runLeft(t.Context(), c, d, slog.New(slog.DiscardHandler), func() bool { return false })
	if down := d.Stats().Down; len(down) != 1 {
		t.Errorf("the directory cannot be read: %v", down)
	}
}
