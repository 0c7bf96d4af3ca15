package audit_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/shiptest"
)

// patient waits between attempts as in production: the tests' milliseconds would be too many attempts in hours of fake time. zstd shares
// encoders, which cannot be used in more than one bubble.
func patient(o *ship.Options) { o.Backoff, o.Codec = ship.Backoff, "gzip" }

// TestIdleHours: a spool that receives nothing still passes each hour as long as it is open, with at most one manifest per hour. A spool
// that still owes records, or is dead, passes none.
func TestIdleHours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		var down atomic.Bool
		to := map[string]ship.Destination{"s3": p["s3"], "idc": shiptest.Faulty(p["idc"], func(shiptest.Call) shiptest.Fault {
			return shiptest.Fault{Before: func(context.Context) error {
				if down.Load() {
					return errors.New("down")
				}
				return nil
			}}
		})}
		complete := func(place string, back time.Duration) bool {
			t.Helper()
			r, err := audit.Run(t.Context(), &audit.Options{
				Places: []audit.Place{{Name: place, Destination: p[place]}}, Hour: time.Now().Add(-back), Deep: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			if r.Verdict == audit.Damaged {
				t.Fatalf("%+v", r.Findings)
			}
			return r.Verdict == audit.Complete
		}
		manifests := func() int {
			n := 0
			for _, key := range p["s3"].Keys() {
				if isManifest.MatchString(key) {
					n++
				}
			}
			return n
		}
		x := send(t, t.TempDir(), "vpn", "host-a", to, patient)
		defer x.end()
		x.segments(2)
		x.flush()
		born := manifests()
		if complete("s3", 0) {
			t.Error("the hour has not passed")
		}
		for range 5 {
			time.Sleep(time.Hour)
			synctest.Wait()
			for _, place := range []string{"s3", "idc"} {
				if !complete(place, time.Hour) || complete(place, 0) {
					t.Errorf("%s at %v: the last hour has passed, this one has not", place, time.Now())
				}
			}
		}
		if n := manifests() - born; n > 5 {
			t.Errorf("%d manifests in five idle hours", n)
		}

		// One destination does not get what is kept: its chain passes no more hours until it does.
		down.Store(true)
		x.segments(1)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		if complete("idc", time.Hour) || complete("idc", 2*time.Hour) || !complete("s3", time.Hour) {
			t.Error("a destination that is owed something passed an hour")
		}
		down.Store(false)
		x.s.ResetBackoff()
		x.flush()
		time.Sleep(time.Hour)
		synctest.Wait()
		if !complete("idc", time.Hour) {
			t.Error("it has everything now")
		}

		// What is kept and not sealed yet is not passed over either.
		time.Sleep(time.Until(time.Now().Truncate(time.Hour).Add(time.Hour - 10*time.Second)))
		x.append(10)
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if complete("s3", time.Hour) {
			t.Error("records of that hour are in the open segment")
		}
		time.Sleep(3 * time.Minute)
		synctest.Wait()
		if !complete("s3", time.Hour) {
			t.Error("the segment is delivered, the hour has passed")
		}
		if r := p.audit(t, deep); r.Verdict != audit.Owed {
			t.Errorf("%s: %+v", r.Verdict, r.Findings)
		}
	})
}

// TestDeadSpool: nobody writes manifests for a spool whose host is gone.
func TestDeadSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		x := send(t, t.TempDir(), "vpn", "host-a", p.destinations(), patient)
		x.segments(2)
		x.flush()
		x.end()
		time.Sleep(3*time.Hour + 10*time.Minute)
		r := p.audit(t, func(o *audit.Options) { o.Hour = time.Now().Add(-time.Hour) })
		wants(t, r, audit.Owed, audit.Open)
	})
}

// TestHourNotOver: an hour that is not over is not complete, whatever its chains state: a final spool may be opened again, and another
// one may begin.
func TestHourNotOver(t *testing.T) {
	p := finished(t)
	for _, ahead := range []time.Duration{0, time.Hour, 1000 * time.Hour} {
		r := p.audit(t, func(o *audit.Options) { o.Hour = time.Now().Add(ahead) })
		wants(t, r, audit.Owed, audit.HourOpen)
		for _, c := range r.Chains {
			if c.Verdict != audit.Owed {
				t.Errorf("%v ahead: chain of %s at %s is %s", ahead, c.Spool, c.Place, c.Verdict)
			}
		}
	}
	one := places{"idc": shiptest.Memory()}
	newChain(t, one, "idc", nil).add(1, func(m *ship.Manifest) { m.Footer.Passed = time.Now().Add(3 * time.Hour).UTC().Truncate(time.Hour) })
	r := one.audit(t, func(o *audit.Options) { o.Hour = time.Now().Add(time.Hour) })
	wants(t, r, audit.Owed, audit.HourOpen)
	if f := r.Findings[0]; f.Spool != testSpool || !strings.Contains(f.Detail, "one of the two clocks is wrong") {
		t.Errorf("a sender whose clock is ahead: %+v", f)
	}
}

// TestHourJustOver: this host's clock may be ahead of the senders', so that it alone does not end an hour at once.
func TestHourJustOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		x := send(t, t.TempDir(), "vpn", "host-a", p.destinations(), patient)
		x.segments(2)
		x.finalize("idc", "s3")
		x.end()
		hour := time.Now()
		ask := func(o *audit.Options) { o.Hour = hour }
		time.Sleep(time.Until(hour.Truncate(time.Hour).Add(time.Hour + 2*time.Minute)))
		wants(t, p.audit(t, ask), audit.Owed, audit.HourOpen)
		time.Sleep(3 * time.Minute)
		wants(t, p.audit(t, ask), audit.Complete)
		hour = hour.Add(time.Hour)
		time.Sleep(time.Until(hour.Truncate(time.Hour).Add(time.Hour + 2*time.Minute)))
		wants(t, p.audit(t, ask), audit.Owed, audit.HourOpen)
		// Another sender's clock says so too.
		y := send(t, t.TempDir(), "vpn", "host-b", p.destinations(), patient)
		y.segments(1)
		y.finalize("idc", "s3")
		y.end()
		wants(t, p.audit(t, ask), audit.Complete)
	})
}

// TestHoursBeforeSpool: a host that begins, and may die before it has delivered anything, makes no hour incomplete that ended before its
// spool had a record; those since then it does.
func TestHoursBeforeSpool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces()
		x := send(t, t.TempDir(), "vpn", "host-a", p.destinations(), patient)
		x.segments(2)
		x.finalize("idc", "s3")
		x.end()
		hour := time.Now()
		time.Sleep(5 * time.Hour)
		y := send(t, t.TempDir(), "vpn", "host-b", p.destinations(), patient)
		time.Sleep(time.Second)
		synctest.Wait()
		y.append(10)
		y.end()
		time.Sleep(48 * time.Hour)
		for back, want := range map[time.Duration]audit.Verdict{0: audit.Complete, 4 * time.Hour: audit.Complete, 5 * time.Hour: audit.Owed, 20 * time.Hour: audit.Owed} {
			r := p.audit(t, func(o *audit.Options) { o.Hour = hour.Add(back) })
			if r.Verdict != want {
				t.Errorf("%v later: %s, want %s: %+v", back, r.Verdict, want, r.Findings)
			}
		}
	})
}
