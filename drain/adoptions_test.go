package drain

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// volume is an adopted spool that is delivered at a given time.
type volume struct {
	at      time.Time
	stopped time.Time
}

func (v *volume) Pending() []Adoption {
	if !time.Now().Before(v.at) {
		return nil
	}
	return []Adoption{{Dir: "/orphans/vol1", Class: "vpn", Pending: map[string]segment.Tally{"idc": {Records: 7, Bytes: 2048}}, Why: "idc: connection refused"}}
}

func (v *volume) Wait(ctx context.Context) error {
	t := time.NewTimer(time.Until(v.at))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return errors.New("1 adopted volume is not delivered")
	}
}

func (v *volume) Stop(context.Context) error {
	v.stopped = time.Now()
	return nil
}

// TestDrainAndAdoptions: a drain waits for the volumes that the process has adopted, and is not complete without them, since
// each volume has the only copy of its records. On a retained instance the adoptions continue. A stop leaves them to the
// next start.
func TestDrainAndAdoptions(t *testing.T) {
	for name, c := range map[string]struct {
		delivered time.Duration // after the beginning of the end
		intent    Intent
		retained  bool
		want      Outcome
	}{
		"in time":          {30 * time.Second, Drain, false, Delivered},
		"too late":         {time.Hour, Drain, false, Incomplete},
		"on a retained":    {time.Hour, Drain, true, Delivered},
		"stopped":          {30 * time.Second, Stop, false, Stopped},
		"stopped, nothing": {0, Stop, false, Delivered},
	} {
		w := newWorld(t)
		synctest.Test(t, func(t *testing.T) {
			w.t = t
			v := &volume{at: time.Now().Add(c.delivered)}
			var log bytes.Buffer
			o := Options{Adoptions: v, Timeout: 5 * time.Minute, Quiesce: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))}
			if c.retained {
				o.Lifecycles = []Lifecycle{&fake{complete: func(*Report) (bool, error) { return true, nil }}}
			}
			d, sp := w.start(o)
			w.append(sp, 10)
			if c.intent == Stop {
				if err := d.each(func(c *class) error { return errors.Join(c.spool.Seal(t.Context()), c.Shipper.Flush(t.Context())) }); err != nil {
					t.Fatal(err)
				}
			}
			begin := time.Now()
			r, err := d.endOnce(t.Context(), cause{intent: c.intent, trigger: "test"})
			if err != nil || r.Outcome != c.want {
				t.Fatalf("%s: %v %s", name, err, r.JSON())
			}
			owed := c.want == Incomplete || c.want == Stopped
			var sum bytes.Buffer
			_ = r.WriteSummary(&sum)
			if len(r.Adoptions) > 0 != owed || strings.Contains(sum.String(), "adopted volume /orphans/vol1: NOT delivered, pending idc: 7 records, 2.0 KiB: idc: connection refused") != owed {
				t.Errorf("%s: %v\n%s", name, r.Adoptions, sum.String())
			}
			if n := len(linesWith(log.String(), "adopted volume is not delivered and must be kept", "dir=/orphans/vol1", "2.0 KiB", "connection refused")); n > 0 != owed && !c.retained {
				t.Errorf("%s: %d lines: %s", name, n, log.String())
			}
			if v.stopped.IsZero() || c.intent == Stop && v.stopped.Sub(begin) > time.Second || c.retained && v.stopped.Sub(begin) < c.delivered {
				t.Errorf("%s: stopped after %v", name, v.stopped.Sub(begin))
			}
		})
	}
}
