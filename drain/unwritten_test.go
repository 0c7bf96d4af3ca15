package drain

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestReportNotWritten: a drain whose report cannot be written is incomplete, and all views agree: the caller, the platform,
// the page and the metrics, the log, and the destinations.
func TestReportNotWritten(t *testing.T) {
	w := newWorld(t)
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		if err := os.Mkdir(filepath.Join(w.dir, "report.json"), 0o755); err != nil { // nothing can be renamed to it
			t.Fatal(err)
		}
		p := &fake{notice: notice()}
		var log bytes.Buffer
		d, sp := w.start(Options{Lifecycles: []Lifecycle{p}, Timeout: time.Minute, Quiesce: -1, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		w.append(sp, 10)
		r, err := d.RunWith(t.Context(), nil)
		if err == nil || r.Outcome != Incomplete || len(r.Errors) != 1 {
			t.Fatalf("%v %s", err, r.JSON())
		}
		if len(p.reports) != 1 || p.reports[0].Outcome != Incomplete {
			t.Errorf("the platform got %+v", p.reports)
		}
		if st := d.Stats(); st.Outcome != Incomplete {
			t.Errorf("the page says %s", st.Outcome)
		}
		if lines := linesWith(log.String(), "cannot write the report to its file", "outcome=incomplete"); len(lines) != 1 {
			t.Errorf("%s", &log)
		}
		for e, err := range w.good.List(t.Context(), "_report/") {
			if err != nil {
				t.Fatal(err)
			}
			body, err := w.good.Open(context.Background(), e.Key)
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(body)
			var got Report
			if err != nil || body.Close() != nil || json.Unmarshal(b, &got) != nil || got.Outcome != Incomplete {
				t.Errorf("a destination has %s, %v", b, err)
			}
		}
	})
}
