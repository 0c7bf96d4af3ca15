package drain

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/penstock-go/penstock/spool/segment"
)

// linesWith returns the lines of a log with all of some texts.
func linesWith(log string, texts ...string) (found []string) {
next:
	for line := range strings.Lines(log) {
		for _, s := range texts {
			if !strings.Contains(line, s) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// sorry is a handful that reports its losses again, as listeners of package ingest do.
type sorry struct{ *handful }

func (s sorry) Shutdown(ctx context.Context) error {
	if s.in == nil {
		return errors.New("listener closed with 5 records given up")
	}
	return s.handful.Shutdown(ctx)
}

// TestLossesAtAStopAreErrors: the losses of a stop are logged as an error, with their causes, and each kind of line of the
// report has its own message.
func TestLossesAtAStopAreErrors(t *testing.T) {
	w := newWorld(t)
	w.faulty.SetPlan(down)
	w.bothDown = true // a delivery in the meantime would change the report
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		l := &handful{unread: 5}
		w.listeners = []Input{sorry{l}}
		var b bytes.Buffer
		d, sp := w.start(Options{Logger: slog.New(slog.NewTextHandler(&b, nil))})
		l.in = sp.Intake()
		w.append(sp, 10)
		l.in.Account(segment.Account{ // before the end, so not among the losses of the end
			Received: segment.Tally{Records: 3}, Lost: segment.Losses{segment.SpoolFull: {Records: 3, BytesUnknown: true}},
		})
		r, err := d.Stop(t.Context(), "test")
		if err != nil || r.Classes["vpn"].LostInEnd != 5 {
			t.Fatalf("%v %s", err, r.JSON())
		}
		log := b.String()
		if got := linesWith(log, "level=ERROR", "LOST", "class=vpn", "records=5", `lost_to="given_up 5"`); len(got) != 1 {
			t.Errorf("no error says what the stop has lost:\n%s", log)
		}
		if got := linesWith(log, `msg="drain: report: class"`, `lost_to="spool_full 3, given_up 5"`); len(got) != 1 {
			t.Errorf("the class's line does not name the causes:\n%s", log)
		}
		// The listeners were ended in between, but the second report says nothing new.
		for msg, n := range map[string]int{`msg="drain: report" `: 1, `msg="drain: report: class"`: 1, `msg="drain: report: destination"`: 2} {
			if got := linesWith(log, msg); len(got) != n {
				t.Errorf("%d lines with %s, want %d:\n%s", len(got), msg, n, log)
			}
		}
		var sum bytes.Buffer
		if err := r.WriteSummary(&sum); err != nil || !strings.Contains(sum.String(), "lost while it ended: 5 (given_up 5)") {
			t.Errorf("%v: %s", err, sum.String())
		}
	})
}
