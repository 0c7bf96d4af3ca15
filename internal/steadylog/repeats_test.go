package steadylog

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestRepeats: the first line is written at once, equal lines are summed up, different lines are counted separately, and a line
// that comes after a pause is a first one again.
func TestRepeats(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		log := slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}}))
		var r Repeats
		began := time.Now().Format(time.RFC3339)
		for i := range 150 { // of seconds
			r.Log(log, slog.LevelWarn, "cannot seal", "segment", 7, "err", errors.New(strings.Repeat("x", i%3+1)))
			if i == 30 {
				r.Log(log, slog.LevelWarn, "cannot seal", "segment", 8, "err", errors.New("y"))
			}
			time.Sleep(time.Second)
		}
		time.Sleep(5 * time.Minute)
		r.Log(log, slog.LevelWarn, "cannot seal", "segment", 7, "err", errors.New("x"))
		r.Log(log, slog.LevelWarn, "cannot seal", "segment", 7, "err", errors.New("x"))
		time.Sleep(5 * time.Minute)
		for i := range 2 * repeatMost {
			r.Log(log, slog.LevelDebug, "many", "segment", i)
		}
		r.Log(log, slog.LevelWarn, "cannot seal", "segment", 7, "err", errors.New("x"))
		want := `level=WARN msg="cannot seal" segment=7 err=x
level=WARN msg="cannot seal" segment=8 err=y
level=WARN msg="cannot seal" segment=7 err=x repeated=61 since=` + began + `.000Z
level=WARN msg="cannot seal" segment=7 err=x repeated=121 since=` + began + `.000Z
level=WARN msg="cannot seal" segment=7 err=x repeated=151 since=` + began + `.000Z
level=WARN msg="cannot seal" segment=7 err=x
`
		if have := strings.ReplaceAll(out.String(), "Z.000Z", ".000Z"); have != strings.ReplaceAll(want, "Z.000Z", ".000Z") {
			t.Errorf("%s\nwant\n%s", have, want)
		}
	})
}
