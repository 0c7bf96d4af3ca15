package main

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics exports the state, with the conventions of package drain/monitor.
type metrics struct{ w *watch }

var _ prometheus.Collector = (*metrics)(nil)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("penstock_relay_"+name, help, labels, nil)
}

var (
	inDesc         = describe("received_datagrams_total", "Datagrams that came in, dropped ones included.")
	outDesc        = describe("forwarded_datagrams_total", "Datagrams that went out, by target.", "target")
	droppedDesc    = describe("dropped_datagrams_total", "Datagrams that came in and did not go out, by cause.", "cause")
	passingDesc    = describe("passing_datagrams", "Datagrams that have come in and neither gone out nor been dropped yet.")
	unfinishedDesc = describe("unfinished_datagrams_total", "Datagrams of which fragments were missing. They did not come in.")
	targetDesc     = describe("target_in_use", "Whether datagrams are sent to a target.", "target")
	healthyDesc    = describe("target_healthy", "Whether a target answers that it is ready.", "target")
	drainingDesc   = describe("target_draining", "Whether the list says that a target drains.", "target")
	openDesc       = describe("all_unhealthy", "Whether no target is healthy, so that all are used.")
	listDesc       = describe("list_read_timestamp_seconds", "When the list of targets was last read without an error.")
	badListDesc    = describe("list_errors_total", "Attempts to read the list of targets that failed, or found mistakes in it.")
	changesDesc    = describe("changes_total", "Changes of the targets in use.")
	failedDesc     = describe("failed_changes_total", "Changes of the targets that the engine refused.")
	infoDesc       = describe("info", "Always 1; the labels have the engine and the mode.", "engine", "mode")
)

// Describe implements prometheus.Collector.
func (m *metrics) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		inDesc, outDesc, droppedDesc, passingDesc, unfinishedDesc, targetDesc, healthyDesc, drainingDesc, openDesc, listDesc, badListDesc,
		changesDesc, failedDesc, infoDesc,
	} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m *metrics) Collect(ch chan<- prometheus.Metric) {
	s := m.w.state()
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(infoDesc, 1, s.Engine, s.Mode)
	if a := s.Account; a != nil {
		count(inDesc, a.In)
		for t, n := range a.Out {
			count(outDesc, n, t.String())
		}
		for cause, n := range a.Dropped {
			count(droppedDesc, n, string(cause))
		}
		gauge(passingDesc, float64(a.Passing))
		count(unfinishedDesc, a.Unfinished)
	}
	for _, t := range s.Targets {
		gauge(targetDesc, is(t.InUse), t.Addr.String())
		gauge(healthyDesc, is(t.Healthy), t.Addr.String())
		gauge(drainingDesc, is(t.Draining), t.Addr.String())
	}
	gauge(openDesc, is(s.FailOpen))
	if !s.ListedAt.IsZero() {
		gauge(listDesc, float64(s.ListedAt.UnixMilli())/1000)
	}
	count(badListDesc, s.badLists)
	count(changesDesc, s.changes)
	count(failedDesc, s.failedUse)
}

// is returns 1 for true and 0 for false.
func is(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// metricsHandler serves the metrics of the relay, of the process and of the Go runtime.
func metricsHandler(w *watch) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(&metrics{w}, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true})
}
