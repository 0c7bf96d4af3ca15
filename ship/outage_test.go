package ship_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

// lines returns the lines of the log that contain a text.
func (b *bench) lines(text string) (found []string) {
	for line := range strings.Lines(b.log.String()) {
		if strings.Contains(line, text) {
			found = append(found, line)
		}
	}
	return found
}

// TestOutageLog: the first failure is logged at once, with the backlog, its age and the time until the spool is full. Later ones are
// summed up, once a minute and then less often, and after ten minutes the outage is an error. The end has the sum.
func TestOutageLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mem := shiptest.Memory()
		f := shiptest.Faulty(mem, func(shiptest.Call) shiptest.Fault { return shiptest.FailBefore(errors.New("down")) })
		d := destinations{"idc": f}
		b := newBench(t, d)
		defer b.close()
		b.ship(d, bubble)
		end := time.Now().Add(5 * time.Minute)
		for time.Now().Before(end) {
			b.segments(1, 10)
			time.Sleep(10 * time.Second)
		}
		synctest.Wait()
		warnings := b.lines(`msg="ship: destination fails; `)
		if n := len(warnings); n < 3 || n > 7 {
			t.Fatalf("%d lines in 5 minutes:\n%s", n, b.log)
		}
		last := warnings[len(warnings)-1]
		for _, want := range []string{`backlog="[0-9]+ records, [0-9.]+ [KMG]?i?B"`, `oldest_age=[34]m[0-9]+s`, `full_in=[0-9hm]+s`, `failures=[1-9][0-9]`, `failing_for=[34]m`, "level=WARN", "err=.*down"} {
			if !regexp.MustCompile(want).MatchString(last) {
				t.Errorf("%s\nlacks %s", last, want)
			}
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if e := b.lines("ship: destination still fails"); len(e) == 0 || !strings.Contains(e[0], "level=ERROR") || !strings.Contains(e[0], "failing_for=10m") {
			t.Errorf("after ten minutes no error is logged:\n%s", b.log)
		}
		before := len(b.lines("msg=\"ship: destination"))
		time.Sleep(10 * time.Hour)
		synctest.Wait()
		if n := len(b.lines("msg=\"ship: destination")) - before; n < 55 || n > 62 {
			t.Errorf("%d lines in ten hours", n)
		}
		f.SetPlan(nil)
		b.flush()
		time.Sleep(time.Minute)
		synctest.Wait()
		if l := b.lines("destination works again"); len(l) != 1 || !strings.Contains(l[0], "failing_for=10h15m") || !strings.Contains(l[0], "failures=") {
			t.Errorf("the end says %q", l)
		}
	})
}

// TestOutageFullSoon: an outage is an error at once if the spool will be full within the hour.
func TestOutageFullSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down bool
		f := shiptest.Faulty(shiptest.Memory(), func(shiptest.Call) shiptest.Fault {
			if down {
				return shiptest.FailBefore(errors.New("down"))
			}
			return shiptest.Fault{}
		})
		d := destinations{"idc": f}
		b := openBench(t, t.TempDir(), d, "host-a", func(o *spool.Options) { o.MaxBytes = 16 << 20 })
		defer b.close()
		b.ship(d, uncompressed, bubble)
		b.noise(5, 60_000)
		time.Sleep(time.Minute)
		synctest.Wait()
		down = true
		b.noise(5, 60_000)
		time.Sleep(time.Minute)
		synctest.Wait()
		if l := b.lines("ship: destination still fails"); len(l) == 0 || !strings.Contains(l[0], "level=ERROR") || !strings.Contains(l[0], "full_in=") {
			t.Errorf("no error is logged:\n%s", b.log)
		}
	})
}
