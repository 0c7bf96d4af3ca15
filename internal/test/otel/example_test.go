package otel_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	bridge "go.opentelemetry.io/contrib/bridges/prometheus"
	"go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/monitor"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A program that uses OpenTelemetry gives the bridge a registry with the Collector. Here a reader collects once; a
// metric.PeriodicReader with an OTLP exporter takes the same option.
func Example() {
	dir, err := os.MkdirTemp("", "penstock")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d, watch := service(dir)
	defer d.Stop(context.Background(), "the example is over")

	registry := prometheus.NewRegistry()
	registry.MustRegister(monitor.New(watch))
	reader := metric.NewManualReader(metric.WithProducer(bridge.NewMetricProducer(bridge.WithGatherer(registry))))
	provider := metric.NewMeterProvider(metric.WithReader(reader))
	defer provider.Shutdown(context.Background())

	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		log.Fatal(err)
	}
	var shown []string
	for _, scope := range all.ScopeMetrics {
		for _, m := range scope.Metrics {
			switch data := m.Data.(type) {
			case metricdata.Sum[float64]:
				if m.Name == "penstock_kept_records_total" || m.Name == "penstock_lost_records_total" {
					for _, p := range data.DataPoints {
						shown = append(shown, fmt.Sprintf("%s{%s} %v", m.Name, p.Attributes.Encoded(labels{}), p.Value))
					}
				}
			case metricdata.Histogram[float64]:
				if m.Name == "penstock_append_seconds" {
					shown = append(shown, fmt.Sprintf("%s: %d appends", m.Name, data.DataPoints[0].Count))
				}
			}
		}
	}
	slices.Sort(shown)
	fmt.Println(shown[0])
	fmt.Println(shown[1])
	fmt.Println(len(shown)-2, "causes of loss")
	// Output:
	// penstock_append_seconds: 2 appends
	// penstock_kept_records_total{class=vpn} 2
	// 10 causes of loss
}

// service has one class that has kept two records.
func service(dir string) (*drain.Drainer, *status.Watch) {
	dest, err := fileship.New(dir+"/delivered", nil)
	if err != nil {
		log.Fatal(err)
	}
	sp, err := spool.Open(dir+"/spool", &spool.Options{Class: "vpn", Destinations: []string{"idc"}})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		if _, err := sp.Append(context.Background(), []segment.Record{{Data: []byte("a record")}}); err != nil {
			log.Fatal(err)
		}
	}
	sh, err := ship.New(sp, &ship.Options{Destinations: map[string]ship.Destination{"idc": dest}})
	if err != nil {
		log.Fatal(err)
	}
	d, err := drain.New(&drain.Options{Dir: dir})
	if err != nil {
		log.Fatal(err)
	}
	if err := d.Add(drain.Class{Shipper: sh}); err != nil {
		log.Fatal(err)
	}
	watch, err := status.New(&status.Options{Drainer: d})
	if err != nil {
		log.Fatal(err)
	}
	return d, watch
}
