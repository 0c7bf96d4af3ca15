package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool/object"
)

func silent() service { return service{log: slog.New(slog.NewTextHandler(io.Discard, nil))} }

// TestMarkerTaken: another object under the key of one marker delays no other marker, and an hour that first appears as
// complete in a later audit is marked, however old it is.
func TestMarkerTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at, s := shiptest.Memory(), silent()
		m := newMarks(&s, at)
		now := time.Now().UTC().Truncate(time.Hour)
		at.Set(object.MarkerKey("vpn", object.HourOf(now.Add(-5*time.Hour))), []byte("junk"))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.run(ctx, time.Minute) }()
		st := &audit.Status{Result: new(audit.Result), Audits: 7}
		for back := 5; back > 0; back-- {
			m.note(st, audit.HourReport{Class: "vpn", Hour: now.Add(-time.Duration(back) * time.Hour), Verdict: audit.Complete}, audit.Owed)
		}
		m.note(st, audit.HourReport{Class: "web", Hour: now.Add(-100 * time.Hour), Verdict: audit.Complete}, "")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if keys, due := at.Keys(), m.ids(); len(keys) != 6 || len(due) != 1 {
			t.Errorf("%q, due %q", keys, due)
		}
		cancel()
		<-done
	})
}

// TestWaitForMarker: a temporary failure to write the marker does not end the wait, and a permanent one does.
func TestWaitForMarker(t *testing.T) {
	hour := time.Now().UTC().Truncate(time.Hour).Add(-time.Hour)
	r := &audit.Result{Verdict: audit.Complete, Hours: []audit.HourReport{{Class: "vpn", Hour: hour, Verdict: audit.Complete}}}
	var out bytes.Buffer
	s, n := &waitFor{service: silent()}, 0
	s.marker = shiptest.Faulty(shiptest.Memory(), func(shiptest.Call) shiptest.Fault {
		if n++; n == 1 {
			return shiptest.FailBefore(errors.New("connection reset"))
		}
		return shiptest.Fault{}
	})
	if code, over := s.judge(t.Context(), r, &out, io.Discard); over || s.unmarked == nil || out.Len() > 0 {
		t.Errorf("after a connection that was reset: %d, %v, %q", code, over, &out)
	}
	if code, over := s.judge(t.Context(), r, &out, io.Discard); !over || code != 0 || !strings.Contains(out.String(), "is complete") {
		t.Errorf("the second time: %d, %v, %q", code, over, &out)
	}
	s.marker = shiptest.Faulty(shiptest.Memory(), func(shiptest.Call) shiptest.Fault {
		return shiptest.FailBefore(ship.Permanent(errors.New("no access")))
	})
	if code, over := s.judge(t.Context(), r, io.Discard, io.Discard); !over || code != exitFailed {
		t.Errorf("without access: %d, %v", code, over)
	}
	taken := shiptest.Memory()
	taken.Set(object.MarkerKey("vpn", object.HourOf(hour)), []byte("junk"))
	s.marker = taken
	if code, over := s.judge(t.Context(), r, io.Discard, io.Discard); !over || code != exitFailed {
		t.Errorf("with something else under the key: %d, %v", code, over)
	}
}

// TestHostileAnswers: a server's answers cannot control the terminal.
func TestHostileAnswers(t *testing.T) {
	for _, f := range []func(io.Writer, error) int{refused, failed} {
		var b bytes.Buffer
		f(&b, errors.New("the server says \x1b]0;owned\a\u009b2J\ncomplete: all is well"))
		if strings.ContainsAny(b.String(), "\x1b\a\u009b") || strings.Contains(b.String(), "\ncomplete") {
			t.Errorf("%q", &b)
		}
	}
}
