package audit_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// TestWatcherFullFails: a full audit beside the increments cannot be done. Increments go on, and Status has an error until one succeeds.
func TestWatcherFullFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Until(testTime.Add(24 * time.Hour)))
		p := newPlaces()
		for _, name := range []string{"idc", "s3"} {
			newChain(t, p, name, nil).add(5, nil).add(0, final)
		}
		var log bytes.Buffer
		var faulty *shiptest.FaultyDestination
		w := p.watch(t, func(o *audit.WatchOptions) {
			faulty = shiptest.Faulty(o.Places[1].Destination, nil)
			o.Places[1].Destination, o.FullInterval = faulty, 2*time.Hour
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		})
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Hour)
		synctest.Wait()
		before := w.Status()
		faulty.SetPlan(func(c shiptest.Call) shiptest.Fault {
			if c.Op != shiptest.List && isData.MatchString(c.Key) {
				return shiptest.FailBefore(ship.Permanent(errors.New("no access")))
			}
			return shiptest.Fault{}
		})
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		s := w.Status()
		if before.Err != "" || !strings.Contains(s.Err, "no access") || !strings.HasPrefix(s.Err, "the full audit of ") || s.Failures < 2 || s.Failures > 7 ||
			s.Result.Verdict != audit.Complete || !s.Full.Equal(before.Full) {
			t.Errorf("before: %+v, after: %+v", before, s)
		}
		if x := s.Places[0]; x.Err != "" || time.Since(x.LastSuccess) > time.Minute {
			t.Errorf("the other place: %+v", x)
		}
		if x := s.Places[1]; !strings.Contains(x.Err, "no access") || time.Since(x.LastSuccess) < 59*time.Minute || x.LastSuccess.Before(before.Places[1].LastSuccess) {
			t.Errorf("the place: %+v", x)
		}
		faulty.SetPlan(nil)
		time.Sleep(11 * time.Minute)
		synctest.Wait()
		if x := w.Status(); x.Err != "" || x.Failures != s.Failures || !x.Full.After(s.Full) || x.Places[1].Err != "" || time.Since(x.Places[1].LastSuccess) > time.Minute {
			t.Errorf("then: %+v", x)
		}
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := strings.Count(log.String(), "a full audit failed"); n != 1 || strings.Contains(log.String(), "msg=\"audit: audits succeed again") || !strings.Contains(log.String(), "full audits succeed again") {
			t.Errorf("%d\n%s", n, &log)
		}
	})
}

// TestWatcherHidden: an object that increments have found right is replaced by one that cannot be read. The next full audit says so.
func TestWatcherHidden(t *testing.T) {
	p := finished(t)
	var key string
	for _, k := range p["s3"].Keys() {
		if isData.MatchString(k) {
			key = k
		}
	}
	d := shiptest.Faulty(p["s3"], nil)
	w := p.watch(t, func(o *audit.WatchOptions) { o.Places[1].Destination = d })
	step := func() *audit.Status {
		s, err := w.Step(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	wants(t, step().Result, audit.Complete)
	d.SetPlan(func(c shiptest.Call) shiptest.Fault {
		if c.Key == key && c.Op != shiptest.List {
			return shiptest.FailBefore(errArchived)
		}
		return shiptest.Fault{}
	})
	audit.FullAudit(t.Context(), w)()
	for range 2 {
		s := step()
		wants(t, s.Result, audit.Owed, audit.Unread)
		if s.Err != "" || s.Places[1].Err != "" {
			t.Errorf("%+v", s)
		}
	}
}
