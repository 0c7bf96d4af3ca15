package asg_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/draintest"
	"github.com/penstock-go/penstock/spool/segment"
)

// TestProtection: a group that scales in does not choose the instance with a backlog, but does when the backlog is gone.
// A backlog near the bound does not cause a call at each Update, and a call that fails is repeated.
func TestProtection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		calls, ill := 0, false
		g := draintest.NewGroup(&draintest.GroupOptions{Fault: func(op string) error {
			if op != "Protect" {
				return nil
			}
			calls++
			if ill {
				return errors.New("503 Slow Down")
			}
			return nil
		}})
		busy, idle := g.Launch(), g.Launch()
		l, err := asg.New(&asg.Options{Metadata: busy, Service: g, ProtectAbove: 1000})
		if err != nil {
			t.Fatal(err)
		}
		run := func(pending uint64, want bool, wantCalls int) {
			t.Helper()
			before := calls
			for range 20 {
				l.Update(t.Context(), drain.Status{Phase: drain.PhaseRun, Pending: segment.Tally{Bytes: pending}})
				time.Sleep(time.Second)
			}
			if busy.Protected() != want || calls-before != wantCalls {
				t.Errorf("%d bytes: protected %v after %d calls, want %v after %d", pending, busy.Protected(), calls-before, want, wantCalls)
			}
		}
		if err := g.Protect(t.Context(), "group", busy.ID(), true); err != nil { // by an earlier process
			t.Fatal(err)
		}
		run(0, false, 1)
		run(1000, false, 0)
		ill = true
		run(1001, false, 4) // each 5 s
		ill = false
		run(1001, true, 1)
		run(900, true, 0)
		run(1100, true, 0)
		if i := g.ScaleIn(); i != idle {
			t.Errorf("the group took %v instead of the idle one", i)
		}
		if i := g.ScaleIn(); i != nil {
			t.Errorf("the group took the protected %s", i.ID())
		}
		// Drained by hand, completely or not.
		for outcome, want := range map[drain.Outcome]bool{drain.Incomplete: true, drain.Delivered: false} {
			r := complete()
			r.Outcome = outcome
			before := busy.Protected()
			if _, err := l.Finish(t.Context(), r); err != nil || busy.Protected() != (before && want) {
				t.Errorf("%s: %v, protected %v", outcome, err, busy.Protected())
			}
		}
		run(1001, true, 1)
		run(500, false, 1)
		if i := g.ScaleIn(); i != busy {
			t.Errorf("the group took %v, and there is one without a backlog", i)
		}
	})
}

// TestProtectionOverHTTP: the same call through the AWS SDK.
func TestProtectionOverHTTP(t *testing.T) {
	g := draintest.NewGroup(nil)
	i := g.Launch()
	overHTTP(t, g, i)
	l, err := asg.New(&asg.Options{ProtectAbove: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, pending := range []uint64{2, 0} {
		l.Update(t.Context(), drain.Status{Phase: drain.PhaseRun, Pending: segment.Tally{Bytes: pending}})
		if i.Protected() != (pending > 0) {
			t.Errorf("%d bytes: protected %v", pending, i.Protected())
		}
	}
}
