package report

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestCourse: a run of a week has a bounded number of samples, in order, up to its end.
func TestCourse(t *testing.T) {
	var c Course
	const week = 7 * 24 * time.Hour
	n := uint64(0)
	for at := time.Duration(0); at < week; at += 300 * time.Millisecond {
		if c.Wants(at) {
			n = uint64(at.Seconds())
			c.Add(at, n, 2*n, 3*n)
		}
	}
	all := c.Samples(week, n, 2*n, 3*n)
	if len(all) > maxSamples+1 || len(all) < maxSamples/2 || all[0].Seconds != 0 || all[len(all)-1].Seconds != week.Seconds() {
		t.Errorf("%d samples from %v to %v", len(all), all[0], all[len(all)-1])
	}
	for i, s := range all[:len(all)-1] {
		if i > 0 && s.Seconds <= all[i-1].Seconds || s.Sent != uint64(s.Seconds) || s.Bytes != 2*s.Sent || s.Due != 3*s.Sent {
			t.Fatalf("sample %d is %+v after %+v", i, s, all[max(0, i-1)])
		}
	}
}

// two are the reports of two machines, the second of which starts ten seconds later.
func two() []Report {
	start := time.Date(2026, 11, 2, 8, 0, 0, 0, time.UTC)
	r := func(run string, after time.Duration) Report {
		return Report{
			Version: Version, Run: run, Host: "<b>h", Started: start.Add(after), Seconds: 20, Profile: "constant:rate=100", Sent: 2000, Bytes: 4000,
			Targets: map[string]uint64{"udp://h:1": 2000}, Sources: []uint64{1500, 500}, SourceCount: 2,
			Samples: []Sample{{0, 0, 0, 0}, {10, 1000, 2000, 1000}, {20, 2000, 4000, 2000}},
		}
	}
	return []Report{r("m1", 0), r("m2", 10*time.Second)}
}

// TestPage: the page adds up the machines, shows missing lines at the time at which they were sent, loads nothing, and cannot
// be controlled by names that other parties chose.
func TestPage(t *testing.T) {
	missing := uint64(7)
	gaps := make([]uint64, GapParts)
	gaps[GapParts/2] = 7 // in the middle of m2: 20 s after the start of m1
	c := &Check{Class: "vpn", Reports: two(), Found: []Found{{
		At: "file://<script>alert(1)</script>", Sent: 4000, Found: 3993, Missing: &missing,
		Runs: map[string]FoundRun{"m1": {Sent: 2000}, "m2": {Sent: 2000, Missing: &missing, Gaps: gaps}},
	}}}
	html, err := Page(c, "v1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"4,000", "Load test m1, m2", "not every line is there once", "class vpn", "prefers-color-scheme: dark", "Missing at file://&lt;script&gt;", "1,500 lines"} {
		if !strings.Contains(string(html), want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if bad := regexp.MustCompile(`<script|<b>h|src=|@import|url\(|https?://`).Find(html); bad != nil {
		t.Errorf("the page has %q", bad)
	}

	p := &page{Check: c}
	p.sum()
	if took := p.End.Sub(p.Begin); took != 30*time.Second || p.Sent != 4000 {
		t.Errorf("%d lines in %v", p.Sent, took)
	}
	for i, n := range p.missing(&c.Found[0], 30, 1) {
		if (n > 0) != (i == 20) {
			t.Errorf("%g are missing in second %d", n, i)
		}
	}
	p.draw()
	rates := p.Plots[0].Lines[0].values
	if fmt.Sprintf("%.0f %.0f %.0f", rates[5], rates[15], rates[25]) != "100 200 100" {
		t.Errorf("lines per second: %v", rates)
	}
}

// TestPageEmpty: a page can be made of anything, even of a run that sent nothing.
func TestPageEmpty(t *testing.T) {
	for _, c := range []*Check{
		{},
		{OK: true, Found: []Found{{At: "file:///x", Error: "gone"}}},
		{Reports: []Report{{Version: Version, Run: "r", Error: "refused"}}},
		{Reports: []Report{{Version: Version, Run: "r", Sent: 5, Samples: []Sample{{}, {}}, Sources: []uint64{0, 0}, SourceCount: 2}}},
	} {
		if html, err := Page(c, "v1"); err != nil || strings.Contains(string(html), "NaN") || strings.Contains(string(html), "Inf") {
			t.Errorf("%+v: %v: %s", c, err, html)
		}
	}
}

// TestRead: a report is read as it was written; other files are refused with their names.
func TestRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "r.json")
	r := two()[0]
	if err := WriteJSON(path, &r); err != nil {
		t.Fatal(err)
	}
	got, err := Read(path)
	if err != nil || fmt.Sprint(*got) != fmt.Sprint(r) {
		t.Errorf("%v: %+v", err, got)
	}
	if err := os.WriteFile(path, []byte("no report"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(path); err == nil || !strings.Contains(err.Error(), path) {
		t.Error(err)
	}
	if left, err := filepath.Glob(filepath.Dir(path) + "/.loadgen*"); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
