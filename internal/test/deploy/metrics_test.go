package deploy

import (
	"fmt"
	"maps"
	"os"
	"regexp"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/penstock-go/penstock/drain/monitor"
	"github.com/penstock-go/penstock/drain/status"
)

// idle is a service that is never asked for its metrics, only for their names.
type idle struct{}

func (idle) Snapshot() *status.Snapshot { return nil }

// exported returns the names of the metrics that the programs export.
func exported() map[string]bool {
	descs := make(chan *prometheus.Desc)
	go func() {
		monitor.New(idle{}).Describe(descs)
		close(descs)
	}()
	names := map[string]bool{}
	for d := range descs {
		if m := regexp.MustCompile(`fqName: "([^"]+)"`).FindStringSubmatch(d.String()); m != nil {
			names[m[1]] = true
		}
	}
	maps.Copy(names, relayMetrics())
	maps.Copy(names, reaperMetrics())
	return names
}

// reaperMetrics returns the names of the metrics that the reaper exports, which its source has.
func reaperMetrics() map[string]bool {
	names := map[string]bool{}
	text, _ := os.ReadFile("../../../examples/reaper/metrics.go")
	for _, m := range regexp.MustCompile(`describe\("(penstock_reaper_[a-z_]+)"`).FindAllSubmatch(text, -1) {
		names[string(m[1])] = true
	}
	return names
}

// TestMetricNames: every metric that a template names is one that the collector exports.
func TestMetricNames(t *testing.T) {
	names := exported()
	if len(names) < 50 {
		t.Fatalf("%d metrics", len(names))
	}
	prove(t, []invariant{
		{"templates name metrics that exist", func(w *world) error {
			n := 0
			for path, text := range w.Tree {
				if !regexp.MustCompile(`^(terraform|cloudformation)/`).MatchString(path) {
					continue
				}
				for _, name := range regexp.MustCompile(`\bpenstock_[a-z_]+\b`).FindAllString(text, -1) {
					if n++; !names[name] {
						return fmt.Errorf("%s names %s, which no program exports", path, name)
					}
				}
			}
			if n < 7 {
				return fmt.Errorf("only %d are named", n)
			}
			return nil
		}, []mutation{
			{module1 + "observe.tf", `"penstock_reaper_kept_volumes"`, `"penstock_reaper_volumes_kept"`},
			{module1 + "observe.tf", "penstock_lost_records_total", "penstock_lost_total"},
			{module1 + "observe.tf", "penstock_destination_lag_seconds", "penstock_lag_seconds"},
		}},
	})
}
