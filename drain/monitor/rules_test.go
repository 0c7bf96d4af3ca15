package monitor

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/penstock-go/penstock/internal/test/golden"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

const deploy = "../../examples/deploy/monitoring"

// promtool runs Prometheus' own tool. Without the tool the test is skipped, except in CI.
func promtool(t *testing.T, stdin string, args ...string) (string, error) {
	t.Helper()
	path, err := exec.LookPath("promtool")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("promtool is not installed: it is in Debian's package prometheus")
	}
	cmd := exec.Command(path, args...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// TestMetricsAreClean: promtool finds no fault with names, units and help.
func TestMetricsAreClean(t *testing.T) {
	w := newWorld(t)
	u, l := listenUDP(w, nil), listenTCP(w, nil)
	w.class("vpn", spool.Options{}, nil, u, l)
	write(t, dial(t, u), "a record")
	w.until(`penstock_kept_records_total{class="vpn"}`, func(v float64) bool { return v == 1 })
	text := w.scrape()
	if out, err := promtool(t, text, "check", "metrics"); err != nil || out != "" {
		t.Errorf("%v\n%s", err, out)
	}
	for _, f := range families {
		name := nameOf(f)
		if !strings.Contains(text, "# TYPE "+name+" "+typeOf(f)+"\n") && !absent[name] {
			t.Errorf("%s is not in a scrape of a running service as a %s", name, typeOf(f))
		}
	}
}

// absent are the metrics that a service without trouble, or outside of EC2, does not export.
var absent = map[string]bool{
	"penstock_drain_started_timestamp_seconds": true, "penstock_drain_deadline_timestamp_seconds": true, "penstock_drain_outcome": true,
	"penstock_network_allowance_exceeded_packets_total":      true,
	"penstock_destination_failing_since_timestamp_seconds":   true,
	"penstock_listener_certificate_expiry_timestamp_seconds": true,
	"penstock_spool_until_full_seconds":                      true,
	"penstock_disk_until_full_seconds":                       true,
	"penstock_disk_size_bytes":                               true, // a Watch looks at disks while it runs
	"penstock_disk_free_bytes":                               true,
	"penstock_destination_until_empty_seconds":               true,
	"penstock_destination_last_success_timestamp_seconds":    true,
	"penstock_sender_received_records_total":                 true, // of established senders only
	"penstock_sender_last_record_timestamp_seconds":          true,
}

var (
	fqName         = regexp.MustCompile(`fqName: "(\w+)"`)
	variableLabels = regexp.MustCompile(`variableLabels: (\{[\w,]*\})\}$`)
)

func nameOf(f *family) string { return fqName.FindStringSubmatch(f.desc.String())[1] }

func labelsOf(f *family) string { return variableLabels.FindStringSubmatch(f.desc.String())[1] }

func typeOf(f *family) string {
	return map[kind]string{counter: "counter", gauge: "gauge", histogram: "histogram"}[f.kind]
}

var update = flag.Bool("update", false, "write the golden file again")

// TestNames: names, types and labels of metrics are an interface to queries, alerts and dashboards, so none may change
// unintentionally.
func TestNames(t *testing.T) {
	var got []string
	for _, f := range families {
		got = append(got, nameOf(f)+labelsOf(f)+": "+typeOf(f))
	}
	slices.Sort(got)
	golden.Lines(t, filepath.Join("testdata", "names.golden"), *update, got)
}

// metricNames finds the metrics of this package that a text mentions.
var metricNames = regexp.MustCompile(`\bpenstock_\w+`)

// TestRules: the alert rules are valid, pass their unit tests, use only existing metrics, and each refers to a section of
// the runbook.
func TestRules(t *testing.T) {
	rules, err := os.ReadFile(filepath.Join(deploy, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, f := range families {
		known[nameOf(f)] = true
	}
	audit, err := os.ReadFile("../../examples/audit/metrics.go") // audit serve has its own metrics
	if err != nil {
		t.Fatal(err)
	}
	reaper, err := os.ReadFile("../../examples/reaper/metrics.go") // and so has the reaper
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range metricNames.FindAllString(string(rules), -1) {
		if !known[name] && !bytes.Contains(audit, []byte(`"`+name+`"`)) && !bytes.Contains(reaper, []byte(`"`+name+`"`)) {
			t.Errorf("the rules use %s, which is no metric", name)
		}
	}
	unit, err := os.ReadFile(filepath.Join(deploy, "alerts_test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	runbook, err := os.ReadFile("../../internal/docs/runbook.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, alert := range regexp.MustCompile(`alert: (\w+)`).FindAllStringSubmatch(string(rules), -1) {
		if !bytes.Contains(unit, []byte(`alertname="`+alert[1]+`"`)) {
			t.Errorf("%s has no unit test", alert[1])
		}
		if !bytes.Contains(rules, []byte("runbook.md#"+strings.ToLower(alert[1])+"\n")) || !bytes.Contains(runbook, []byte("\n## "+alert[1]+"\n")) {
			t.Errorf("%s has no link to a section of the runbook", alert[1])
		}
	}
	for _, args := range [][]string{{"check", "rules", filepath.Join(deploy, "alerts.yaml")}, {"test", "rules", filepath.Join(deploy, "alerts_test.yaml")}} {
		if out, err := promtool(t, "", args...); err != nil || !strings.Contains(out, "SUCCESS") {
			t.Errorf("promtool %s: %v\n%s", args[0], err, out)
		}
	}
}

// fires makes promtool load a scraped series, 0 before and value afterwards, and checks that the alert for lost records fires
// for the cause.
func fires(t *testing.T, cause segment.Cause, class string, value float64) {
	t.Helper()
	rules, err := filepath.Abs(filepath.Join(deploy, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	labels := fmt.Sprintf(`cause="%s",class="%s",instance="i"`, cause, class)
	test := filepath.Join(t.TempDir(), "test.yaml")
	text := fmt.Sprintf(`rule_files: [%q]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - {series: 'penstock_lost_records_total{%s}', values: '0x15 %vx15'}
      - {series: 'penstock_start_time_seconds{instance="i"}', values: '-86400x30'}
    promql_expr_test:
      - expr: ALERTS{alertstate="firing"}
        eval_time: 10m
      - expr: ALERTS{alertstate="firing"}
        eval_time: 20m
        exp_samples:
          - {labels: 'ALERTS{alertname="PenstockRecordsLost",alertstate="firing",severity="page",%s}', value: 1}
`, rules, labels, value, labels)
	if err := os.WriteFile(test, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := promtool(t, "", "test", "rules", test); err != nil || !strings.Contains(out, "SUCCESS") {
		t.Errorf("the alert for %s: %v\n%s", cause, err, out)
	}
}
