package monitor

import (
	"errors"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/internal/foreign"
)

// Source provides the data to export. A *status.Watch is one.
type Source interface {
	// Snapshot is called by every scrape. If it returns nil or panics, the scrape fails, and the process continues.
	Snapshot() *status.Snapshot
}

var _ Source = (*status.Watch)(nil)

// Collector exports a service as metrics. It may be registered in several registries.
type Collector struct {
	from    Source
	senders named
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a Collector of a service. A Collector of a nil Source cannot be registered: Register returns an error that says
// so.
func New(from Source) *Collector { return &Collector{from: from} }

// errNoSource is returned at the registration, since New returns no error, as usual for collectors. Otherwise the first scrape
// would panic in a goroutine of the registry, which would end the process.
var errNoSource = errors.New("monitor: the Source is nil")

// Describe implements prometheus.Collector.
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	if foreign.IsNil(c.from) {
		ch <- prometheus.NewInvalidDesc(errNoSource)
		return
	}
	for _, f := range families {
		ch <- f.desc
	}
}

// Collect implements prometheus.Collector. All metrics are from one snapshot.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	s, err := c.snapshot()
	if err != nil {
		ch <- prometheus.NewInvalidMetric(prometheus.NewInvalidDesc(err), err)
		return
	}
	sendProcess(ch, s)
	for i := range s.Classes {
		sendClass(ch, &s.Classes[i], &c.senders)
	}
}

// errNoSnapshot fails a scrape.
var errNoSnapshot = errors.New("monitor: the Source has returned no Snapshot")

// snapshot calls the Source, which is the program's own code.
func (c *Collector) snapshot() (s *status.Snapshot, err error) {
	if foreign.IsNil(c.from) { // the Collector was not registered, and Collect is called directly
		return nil, errNoSource
	}
	err = foreign.Catch("monitor: Source.Snapshot", func() error {
		s = c.from.Snapshot()
		return nil
	})
	if err == nil && s == nil {
		err = errNoSnapshot
	}
	return s, err
}

// Handler serves the metrics of a service, of the process and of the Go runtime to Prometheus. It does not compress them,
// because that would take as long as everything else. With a nil Source it answers every request with an error (500), so that
// Prometheus reports the target as down; the service itself continues.
func Handler(from Source) http.Handler {
	r := prometheus.NewRegistry()
	if err := r.Register(New(from)); err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		})
	}
	r.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true})
}
