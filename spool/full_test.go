package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// lines is a log that a test reads.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// take returns the lines with a text since the last call, and forgets all.
func (l *lines) take(text string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.b.String()) {
		if strings.Contains(line, text) {
			found = append(found, strings.TrimSpace(line))
		}
	}
	l.b.Reset()
	return found
}

func (l *lines) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// A full spool is logged as an error, with its size, the pending records of each destination, the waiting appends and the losses. The
// line is repeated once a minute, and at the end the log says how long the spool was full.
func TestFullIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lines)
		d := memDir()
		o := fullOptions(Block)
		o.Destinations, o.Logger = []string{"idc", "s3"}, log.logger()
		s := d.open(t, o)
		defer s.Close()
		n := fill(t, s)
		var waiting sync.WaitGroup
		for range 3 { // as a listener with connections
			waiting.Go(func() {
				if _, err := s.Append(t.Context(), batch(n+1, 4, 1000)); err != nil {
					t.Error(err)
				}
			})
		}
		time.Sleep(2 * time.Second)
		synctest.Wait()
		got := log.take("FULL")
		if len(got) != 1 || !strings.Contains(got[0], "level=ERROR") {
			t.Fatalf("a full spool says %q", got)
		}
		for _, want := range []string{"class=default", "used=", "quota=\"1.0 MiB\"", "pending.idc=", "pending.s3=", "waiting=", "lost=0"} {
			if !strings.Contains(got[0], want) {
				t.Errorf("%q is not in %s", want, got[0])
			}
		}
		// What the kernel drops meanwhile.
		var a segment.Account
		a.Lost[segment.KernelOverflow] = segment.Loss{Records: 4711, BytesUnknown: true}
		a.Received.Records = 4711
		synctest.Wait()
		s.Intake().Account(a)
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		got = log.take("FULL")
		if len(got) != 3 || !strings.Contains(got[2], "for=3m0s") || !strings.Contains(got[2], "waiting=3") || !strings.Contains(got[2], "lost=4711") {
			t.Errorf("three minutes later: %q", got)
		}
		mustSeal(t, s)
		segs := s.shelf.Sealed(0, 0)
		for _, dest := range o.Destinations {
			deliver(t, s, dest, segs[len(segs)-1].Number)
		}
		time.Sleep(30 * time.Second)
		waiting.Wait()
		got = log.take("room again")
		if len(got) != 1 || !strings.Contains(got[0], "level=INFO") || !strings.Contains(got[0], "for=3m") || !strings.Contains(got[0], "lost=4711") {
			t.Errorf("in the end: %q", got)
		}
	})
}

// A spool at its limit is emptied and filled again and again: that is one state, and no line for each change.
func TestFullIsNotToldAllTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lines)
		d := memDir()
		o := fullOptions(Reject)
		o.Logger = log.logger()
		s := d.open(t, o)
		defer s.Close()
		for range 30 {
			fill(t, s)
			time.Sleep(time.Second)
			mustSeal(t, s)
			segs := s.shelf.Sealed(0, 0)
			deliver(t, s, "a", segs[len(segs)-1].Number)
			time.Sleep(time.Second)
		}
		if got := log.take("spool: "); len(got) > 3 { // open, full, full a minute later
			t.Errorf("%d lines in a minute: %q", len(got), got)
		}
	})
}

// The disk is full of other files: the log says so, and that those are to be deleted.
func TestFullDiskIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lines)
		mem := vfs.NewMem()
		mem.SetCapacity(64 << 20)
		d := memDir()
		d.fs = mem
		s := d.open(t, Options{OnFull: Reject, Sync: SyncAlways, MaxBytes: 16 << 20, StageReserve: 1 << 20, Logger: log.logger()})
		defer s.Close()
		mem.SetCapacity(1 << 20)
		time.Sleep(2 * time.Second)
		if _, err := s.Append(context.Background(), batch(1, 4, 400)); !errors.Is(err, ErrFull) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Minute)
		got := log.take("FULL")
		if len(got) < 2 || !strings.Contains(got[1], "delete other files") || !strings.Contains(got[1], "lost=4") || !strings.Contains(got[1], "disk_free=") {
			t.Errorf("%q", got)
		}
	})
}

func TestFullnessAlone(t *testing.T) {
	var f fullness
	at := time.Unix(0, 0).Add(time.Hour)
	for i, step := range []struct {
		after      time.Duration
		full       bool
		tell, over bool
	}{
		{0, false, false, false},
		{time.Second, true, true, false},
		{time.Second, false, false, false},
		{9 * time.Second, true, false, false},
		{50 * time.Second, true, true, false},
		{9 * time.Second, false, false, false},
		{time.Second, false, true, true},
	} {
		at = at.Add(step.after)
		tell, over := f.look(at, step.full, segment.Loss{})
		if tell != step.tell || over != step.over {
			t.Errorf("step %d: tell %v over %v", i, tell, over)
		}
	}
}

// TestFullCountsWhatMadeItFull: losses before the keeper notices that the spool is full count, in this process and in the next
// one. Losses of an earlier time when it was full do not.
func TestFullCountsWhatMadeItFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lines)
		d := memDir()
		o := fullOptions(Reject)
		o.Logger = log.logger()
		s := d.open(t, o)
		defer func() { closeSpool(t, s) }()
		for i := range 3 {
			if i == 2 {
				closeSpool(t, s)
				s = d.open(t, o)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			before := s.Ledger().Lost[segment.SpoolFull].Records
			fill(t, s)
			lost := s.Ledger().Lost[segment.SpoolFull].Records - before
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := log.take("FULL"); lost == 0 || len(got) != 1 { // it may be before the first loss
				t.Errorf("%d records were lost: %q", lost, got)
			}
			mustSeal(t, s)
			segs := s.shelf.Sealed(0, 0)
			deliver(t, s, "a", segs[len(segs)-1].Number)
			time.Sleep(30 * time.Second)
			synctest.Wait()
			if got := log.take("room again"); len(got) != 1 || !strings.Contains(got[0], fmt.Sprintf(" lost=%d", lost)) {
				t.Errorf("%d records were lost, and in the end: %q", lost, got)
			}
		}
	})
}

// A spool that is full while a process hands it over is full since before.
func TestFullClockGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		log := new(lines)
		d := memDir()
		o := fullOptions(Block)
		o.Logger = log.logger()
		s := d.open(t, o)
		fill(t, s)
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			if _, err := s.Append(ctx, batch(1, 4, 1000)); !errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
			cancel()
			closeSpool(t, s)
			log.take("")
			s = d.open(t, o)
		}
		go func() { _, _ = s.Append(t.Context(), batch(1, 4, 1000)) }()
		time.Sleep(2 * time.Minute)
		if got := log.take("FULL"); len(got) < 2 || !strings.Contains(got[len(got)-1], "for=2h") { // the keeper looks each second
			t.Errorf("%q", got)
		}
		s.Close()
	})
}
