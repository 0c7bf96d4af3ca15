package monitor

import (
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a service with real spools, listeners and shippers, and destinations in memory.
type world struct {
	t     testing.TB
	dir   string
	d     *drain.Drainer
	watch *status.Watch
	dests map[string]ship.Destination
}

func newWorld(t testing.TB) *world {
	w := &world{t: t, dir: t.TempDir(), dests: map[string]ship.Destination{"s3": shiptest.Memory(), "idc": shiptest.Memory()}}
	var err error
	if w.d, err = drain.New(&drain.Options{Dir: w.dir, Instance: "i-test"}); err != nil {
		t.Fatal(err)
	}
	if w.watch, err = status.New(&status.Options{Drainer: w.d, Program: "test"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = w.d.Stop(t.Context(), "the test is over") })
	return w
}

// class adds a class whose listeners are served into sink, by default its spool's intake.
func (w *world) class(name string, o spool.Options, sink func(*spool.Intake) ingest.Sink, listeners ...ingest.Listener) *spool.Spool {
	w.t.Helper()
	o.Class, o.Destinations = name, []string{"idc", "s3"}
	if o.MaxBytes == 0 {
		o.MaxBytes = 1 << 30
	}
	sp, err := spool.Open(filepath.Join(w.dir, name), &o)
	if err != nil {
		w.t.Fatal(err)
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: w.dests})
	if err != nil {
		w.t.Fatal(err)
	}
	c := drain.Class{Shipper: sh}
	var to ingest.Sink = sp.Intake()
	if sink != nil {
		to = sink(sp.Intake())
	}
	for _, l := range listeners {
		c.Inputs = append(c.Inputs, l)
		go l.Serve(to)
	}
	if err := w.d.Add(c); err != nil {
		w.t.Fatal(err)
	}
	return sp
}

// scrape returns the metrics as Prometheus gets them.
func (w *world) scrape() string {
	w.t.Helper()
	r := httptest.NewRecorder()
	Handler(w.watch).ServeHTTP(r, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if r.Code != http.StatusOK {
		w.t.Fatalf("%d: %s", r.Code, r.Body)
	}
	return r.Body.String()
}

// values returns the metrics of Penstock by name and labels, written as in a query.
func (w *world) values() map[string]float64 {
	w.t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(New(w.watch))
	all, err := r.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]float64{}
	for _, f := range all {
		for _, m := range f.Metric {
			if m.Histogram != nil {
				out[series(f.GetName()+"_count", m)] = float64(m.Histogram.GetSampleCount())
				continue
			}
			out[series(f.GetName(), m)] = m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return out
}

func series(name string, m *dto.Metric) string {
	var labels []string
	for _, p := range m.Label {
		labels = append(labels, p.GetName()+`="`+p.GetValue()+`"`)
	}
	return name + "{" + strings.Join(labels, ",") + "}"
}

// until waits for a metric to have a value.
func (w *world) until(series string, ok func(float64) bool) float64 {
	w.t.Helper()
	for deadline := w.deadline(); ; {
		v, there := w.values()[series]
		if there && ok(v) {
			return v
		}
		select {
		case <-deadline:
			w.t.Fatalf("%s is %v, there: %v", series, v, there)
		default:
		}
	}
}

func dial(t testing.TB, l ingest.Listener) net.Conn {
	t.Helper()
	c, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func write(t testing.TB, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatal(err)
	}
}
