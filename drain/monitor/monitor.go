package monitor

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/penstock-go/penstock/drain/status"
)

// Source has what is exported. A *status.Watch is one.
type Source interface {
	Snapshot() *status.Snapshot
}

var _ Source = (*status.Watch)(nil)

// Collector exports a service as metrics. It may be registered in several registries.
type Collector struct {
	from    Source
	senders named
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a Collector of a service.
func New(from Source) *Collector { return &Collector{from: from} }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, f := range families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector. All metrics are of one moment.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s := c.from.Snapshot()
	sendProcess(ch, s)
	for i := range s.Classes {
		sendClass(ch, &s.Classes[i], &c.senders)
	}
}

// Handler serves the metrics of a service, of the process and of the Go runtime to Prometheus. It does not compress them, which
// would take as long as everything else.
func Handler(from Source) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(New(from), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true})
}
