package ship_test

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
)

var errRefused = errors.New("connection refused")

// An outage continues while one process hands over to the next, and so does its clock. It restarts only after something got
// through.
func TestOutageClockGoesOn(t *testing.T) {
	dir := t.TempDir()
	down := shiptest.Faulty(shiptest.Memory(), func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errRefused) })
	d := destinations{"idc": down, "s3": shiptest.Memory()}
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		since := func(b *bench) time.Duration { return b.s.Stats()["idc"].Since.Sub(began) }
		for life := range 2 {
			b := openBench(t, dir, d, "host-a")
			b.ship(d, bubble)
			b.segments(1, 10)
			time.Sleep(time.Hour)
			if got := since(b); got > time.Minute {
				t.Errorf("life %d: the outage has begun %v after it began", life, got)
			}
			if life == 1 && !strings.Contains(b.log.String(), "failing_for=1h0m") {
				t.Errorf("the log: %s", b.log)
			}
			b.close()
		}
		down.SetPlan(nil)
		b := openBench(t, dir, d, "host-a")
		b.ship(d, bubble)
		b.flush()
		down.SetPlan(func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errRefused) })
		b.segments(1, 10)
		time.Sleep(time.Minute)
		if st := b.s.Stats()["idc"]; st.State != ship.StateRetrying || since(b) < 2*time.Hour {
			t.Errorf("the next outage counts from the last one: %v, %+v", since(b), st)
		}
		b.close()
		b = openBench(t, dir, d, "host-a")
		defer b.close()
		if got := b.sp.Shelf().Down("idc").Sub(began); got < 2*time.Hour {
			t.Errorf("noted in the spool: %v", got)
		}
	})
}
