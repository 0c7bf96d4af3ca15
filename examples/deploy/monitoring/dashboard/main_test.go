package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/drain/monitor"
	"github.com/penstock-go/penstock/drain/status"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
)

// idle is a service that is asked only for the names of its metrics.
type idle struct{}

func (idle) Snapshot() *status.Snapshot { return nil }

// TestExpressions: Prometheus accepts every expression, and exports every metric in it.
func TestExpressions(t *testing.T) {
	known := map[string]bool{"process_cpu_seconds_total": true, "process_resident_memory_bytes": true}
	descs := make(chan *prometheus.Desc, 1000)
	monitor.New(idle{}).Describe(descs)
	close(descs)
	name := regexp.MustCompile(`fqName: "(\w+)"`)
	for d := range descs {
		known[name.FindStringSubmatch(d.String())[1]] = true
	}
	audit, err := os.ReadFile("../../../audit/metrics.go") // audit serve has metrics of its own
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, r := range rows {
		for _, p := range r.panels {
			for _, q := range p.queries {
				n++
				for _, metric := range metricsOf(t, q.expr) {
					metric = strings.TrimSuffix(metric, "_bucket")
					if !known[metric] && !strings.Contains(string(audit), `"`+metric+`"`) {
						t.Errorf("%s: %s is no metric", p.title, metric)
					}
				}
			}
		}
	}
	if n < 30 {
		t.Errorf("only %d expressions", n)
	}
}

// metricsOf parses an expression and returns the names of its metrics.
func metricsOf(t *testing.T, expr string) (names []string) {
	t.Helper()
	expr = strings.ReplaceAll(expr, "$__rate_interval", "1m") // Grafana's, the other variables are in strings
	e, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Errorf("%s: %v", expr, err)
		return nil
	}
	parser.Inspect(e, func(n parser.Node, _ []parser.Node) error {
		if s, ok := n.(*parser.VectorSelector); ok {
			for _, m := range s.LabelMatchers {
				if m.Name == labels.MetricName {
					names = append(names, m.Value)
				}
			}
		}
		return nil
	})
	return names
}

// TestJSON: the JSON file is the output of this program, and contains every panel and expression.
func TestJSON(t *testing.T) {
	want, err := render()
	if err != nil {
		t.Fatal(err)
	}
	have, err := os.ReadFile("../dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != string(want) {
		t.Error("dashboard.json is not up to date: go run . > ../dashboard.json")
	}
	for _, r := range rows {
		for _, p := range r.panels {
			if !strings.Contains(string(want), `"title": "`+p.title+`"`) {
				t.Errorf("the panel %q is missing", p.title)
			}
		}
	}
}
