package main

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestMarks: a marker is written as soon as its destination accepts it, unless the hour is no longer complete by then; old
// hours are left to earlier auditors.
func TestMarks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := shiptest.Memory()
		down := shiptest.Faulty(at, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(ship.Permanent(errors.New("down"))) })
		m := newMarks(&service{log: slog.New(slog.NewTextHandler(io.Discard, nil))}, down)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); m.run(ctx, time.Minute) }()
		hour := func(back int, v audit.Verdict) audit.HourReport {
			return audit.HourReport{Class: "vpn", Hour: time.Now().UTC().Truncate(time.Hour).Add(-time.Duration(back) * time.Hour), Verdict: v}
		}
		r := &audit.Status{Result: new(audit.Result), Audits: 1}
		m.note(r, hour(1, audit.Complete), "")
		m.note(r, hour(2, audit.Closed), audit.Owed)
		m.note(r, hour(3, audit.Owed), "")
		m.note(r, hour(100, audit.Complete), "")
		synctest.Wait()
		m.note(r, hour(2, audit.Damaged), audit.Closed)
		down.SetPlan(func(shiptest.Call) shiptest.Fault { return shiptest.Fault{} })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if keys := at.Keys(); len(keys) != 1 || len(m.ids()) != 0 {
			t.Errorf("%q, due %q", keys, m.ids())
		}
		m.note(r, hour(2, audit.Complete), audit.Damaged)
		synctest.Wait()
		if keys := at.Keys(); len(keys) != 2 {
			t.Errorf("%q", keys)
		}
		cancel()
		<-done
	})
}
