package main

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/ship/audit"
)

// exposition is metrics in Prometheus' text format. The audit has so few that a client library would be most of the program.
type exposition struct{ bytes.Buffer }

// family writes the header of a metric.
func (x *exposition) family(name, kind, help string) {
	fmt.Fprintf(x, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, kind)
}

var labelEscapes = strings.NewReplacer("\\", `\\`, "\n", `\n`, `"`, `\"`)

// sample writes one value. Labels are alternating names and values.
func (x *exposition) sample(name string, value float64, labels ...string) {
	x.WriteString(name)
	for i := 0; i < len(labels); i += 2 {
		sep := ","
		if i == 0 {
			sep = "{"
		}
		fmt.Fprintf(x, `%s%s="%s"`, sep, labels[i], labelEscapes.Replace(strings.ToValidUTF8(labels[i+1], "\uFFFD")))
	}
	if len(labels) > 0 {
		x.WriteByte('}')
	}
	fmt.Fprintf(x, " %v\n", value)
}

// gauge writes a metric with one value.
func (x *exposition) gauge(name, help string, value float64) {
	x.family(name, "gauge", help)
	x.sample(name, value)
}

var verdicts = []audit.Verdict{audit.Complete, audit.Closed, audit.Owed, audit.Damaged}

// metrics writes all metrics as of now. s is nil until the first audit has ended.
func (x *exposition) metrics(s *audit.Status, now time.Time) {
	x.family("penstock_audit_build_info", "gauge", "The version of the auditor; always 1.")
	x.sample("penstock_audit_build_info", 1, "version", version())
	if s == nil {
		return
	}
	x.family("penstock_audit_audits_total", "counter", "Audits that were tried, most of them increments.")
	x.sample("penstock_audit_audits_total", float64(s.Audits))
	x.family("penstock_audit_failures_total", "counter", "Audits that failed, since a destination did not answer; also full ones beside increments.")
	x.sample("penstock_audit_failures_total", float64(s.Failures))
	x.gauge("penstock_audit_duration_seconds", "How long the last audit took.", s.Seconds)
	x.gauge("penstock_audit_last_full_timestamp_seconds", "When the last full audit that succeeded began, 0 for never.", unix(s.Full))
	x.gauge("penstock_audit_full_duration_seconds", "How long the last full audit took.", s.FullSeconds)
	x.places(s)
	if s.Result != nil {
		x.hours(s.Result.Hours, now)
		x.findings(s)
	}
}

func unix(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// places writes the state of each destination.
func (x *exposition) places(s *audit.Status) {
	x.family("penstock_audit_last_success_timestamp_seconds", "gauge", "When the last audit began in which the destination answered every request, 0 for never. It stays while full audits fail there.")
	for _, p := range s.Places {
		x.sample("penstock_audit_last_success_timestamp_seconds", unix(p.LastSuccess), "destination", p.Place)
	}
	x.family("penstock_audit_up", "gauge", "Whether the destination answered every request of the last audit, and of the last full one.")
	for _, p := range s.Places {
		up := 1.0
		if p.Err != "" {
			up = 0
		}
		x.sample("penstock_audit_up", up, "destination", p.Place)
	}
	x.family("penstock_audit_requests", "gauge", "Requests of the last audit.")
	for _, p := range s.Places {
		x.sample("penstock_audit_requests", float64(p.Requests), "destination", p.Place)
	}
}

// hours writes the number of hours by verdict, and the age of the oldest ended hour that is not complete.
func (x *exposition) hours(hours []audit.HourReport, now time.Time) {
	type key struct {
		class   string
		verdict audit.Verdict
	}
	count, oldest := map[key]int{}, map[key]time.Duration{}
	classes := map[string]bool{}
	for _, h := range hours {
		classes[h.Class] = true
		k := key{h.Class, h.Verdict}
		count[k]++
		oldest[k] = max(oldest[k], now.Sub(h.Hour.Add(time.Hour)))
	}
	all := slices.Sorted(maps.Keys(classes))
	x.family("penstock_audit_hour_verdicts", "gauge", "Hours by verdict: those with objects, and the idle ones of the last 35 days.")
	for _, class := range all {
		for _, v := range verdicts {
			x.sample("penstock_audit_hour_verdicts", float64(count[key{class, v}]), "class", class, "verdict", string(v))
		}
	}
	x.family("penstock_audit_oldest_incomplete_hour_seconds", "gauge", "How long ago the oldest hour ended that is owed or damaged, 0 if there is none.")
	for _, class := range all {
		for _, v := range verdicts[2:] {
			x.sample("penstock_audit_oldest_incomplete_hour_seconds", oldest[key{class, v}].Seconds(), "class", class, "verdict", string(v))
		}
	}
}

// findings writes the number of findings, and which expected spools or instances are overdue.
func (x *exposition) findings(s *audit.Status) {
	type key struct{ code, class, place, verdict string }
	count := map[key]int{}
	for _, f := range s.Result.Findings {
		count[key{f.Code, f.Class, f.Place, string(f.Verdict)}]++
	}
	x.family("penstock_audit_findings", "gauge", "Findings of the last audit that succeeded.")
	for _, k := range slices.SortedFunc(maps.Keys(count), func(a, b key) int {
		return cmp.Or(cmp.Compare(a.code, b.code), cmp.Compare(a.class, b.class), cmp.Compare(a.place, b.place), cmp.Compare(a.verdict, b.verdict))
	}) {
		x.sample("penstock_audit_findings", float64(count[k]), "code", k.code, "class", k.class, "destination", k.place, "verdict", k.verdict)
	}
	x.gauge("penstock_audit_findings_omitted", "Findings that are not in penstock_audit_findings, since there were too many.", float64(s.Result.Omitted))
	late := map[string]int{}
	for i := range s.Result.Chains {
		late[s.Result.Chains[i].Class] = 0
	}
	for _, o := range s.Overdue {
		late[o.Class]++
	}
	x.family("penstock_audit_overdue", "gauge", "Chains that are neither final nor closed and have not grown in time and, without a class, expected instances and spools that have never appeared.")
	for _, class := range slices.Sorted(maps.Keys(late)) {
		x.sample("penstock_audit_overdue", float64(late[class]), "class", class)
	}
	x.gauge("penstock_audit_objects", "Objects that chains name, at all destinations.", float64(s.Result.Objects))
	x.gauge("penstock_audit_manifests", "Manifests, at all destinations.", float64(s.Result.Manifests))
}

// serveMetrics serves the metrics.
func serveMetrics(w http.ResponseWriter, s *audit.Status) {
	var x exposition
	x.metrics(s, time.Now())
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write(x.Bytes()) // the client may have closed the connection
}
