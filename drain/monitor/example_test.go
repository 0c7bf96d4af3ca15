package monitor_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/monitor"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/fileship"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// A program with a registry of its own registers the Collector there, and serves it in its own mux.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "penstock")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	d := serviceIn(dir, nil)
	defer d.Stop(context.Background(), "the example is over")
	watch, err := status.New(&status.Options{Drainer: d})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	go watch.Run(ctx) // without it there is no history, and so no penstock_spool_until_full_seconds

	registry := prometheus.NewRegistry()
	registry.MustRegister(monitor.New(watch))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	server := httptest.NewServer(mux)
	defer server.Close()
	answer, err := http.Get(server.URL + "/metrics")
	if err != nil {
		log.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		log.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "penstock_kept_records_total") || strings.HasPrefix(line, `penstock_lost_records_total{cause="spool_full"`) {
			fmt.Print(line)
		}
	}
	// Output:
	// penstock_kept_records_total{class="vpn"} 2
	// penstock_lost_records_total{cause="spool_full",class="vpn"} 0
}

// tracer is a Hook: it implements the interfaces of the events that it needs.
type tracer struct{ through chan string }

func (t tracer) OnPut(p ship.Put) {
	if p.Err != nil {
		slog.Warn("an upload failed", "destination", p.Destination, "key", p.Object.Key, "took", p.Took, "err", p.Err)
	}
}

func (t tracer) OnAcked(a ship.Acked) {
	if a.Chain.Through > 0 {
		t.through <- fmt.Sprintf("%s has everything up to record %d", a.Destination, a.Chain.Through)
	}
}

// A program that needs single events, rather than counts, passes its hooks to the packages in which they happen.
func Example_hooks() {
	dir, err := os.MkdirTemp("", "penstock")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	t := tracer{through: make(chan string, 10)}
	d := serviceIn(dir, t)
	if _, err := d.Drain(context.Background(), "the example is over"); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-t.through)
	// Output:
	// idc has everything up to record 2
}

// serviceIn has one class that has kept two records.
func serviceIn(dir string, hook ship.Hook) *drain.Drainer {
	quiet := slog.New(slog.DiscardHandler)
	dest, err := fileship.New(dir+"/delivered", &fileship.Options{Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	sp, err := spool.Open(dir+"/spool", &spool.Options{Class: "vpn", Destinations: []string{"idc"}, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 {
		if _, err := sp.Append(context.Background(), []segment.Record{{Time: time.Now().UnixNano(), Data: []byte("a record")}}); err != nil {
			log.Fatal(err)
		}
	}
	o := &ship.Options{Destinations: map[string]ship.Destination{"idc": dest}}
	if hook != nil {
		o.Hooks = []ship.Hook{hook}
	}
	sh, err := ship.New(sp, o)
	if err != nil {
		log.Fatal(err)
	}
	d, err := drain.New(&drain.Options{Dir: dir, Timeout: time.Minute, Logger: quiet})
	if err != nil {
		log.Fatal(err)
	}
	if err := d.Add(drain.Class{Shipper: sh}); err != nil {
		log.Fatal(err)
	}
	return d
}
