//go:build linux

package fleet

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/ingest/udprelay"
	"github.com/penstock-go/penstock/ship/audit"
)

var pageDir = flag.String("fleet.page", "", "write the page of a made-up run into this directory, to look at it")

// TestPage: the page contains everything, loads nothing, and follows the theme.
func TestPage(t *testing.T) {
	began := time.Date(2026, 11, 22, 8, 0, 0, 0, time.UTC)
	r := &Run{
		Stage: &Stage{Setup: Setup{Rules: unscaled.by(40), Logf: t.Logf}, began: began}, begun: began, stopped: began.Add(90 * time.Second), form: forms["ci"], plan: newPlan(7, forms["ci"]),
		probe: &Probe{}, watch: &Watch{samples: map[int][]Sample{}}, Recovered: 11 * time.Second,
	}
	at := func(s int) time.Time { return began.Add(time.Duration(s) * time.Second) }
	tl := &Timeline{Began: began, Ended: at(100), Marks: []Mark{{at(12), "scale-out", 1}, {at(30), "server 2 is <killed>", 2}, {at(31), "small", 0}, {at(90), "load falls", 3}, {at(91), "IDC back", 4}}}
	for slot := 1; slot <= 11; slot++ {
		l := ServerLine{Slot: slot, Life: []Step{{Starting, at(slot)}, {Serving, at(slot + 2)}, {Draining, at(70)}, {Gone, at(80 + slot)}}}
		if slot == 2 {
			l.Life = []Step{{Starting, at(slot)}, {Serving, at(slot + 2)}, {Killed, at(30)}}
		}
		for s := slot; s < 80; s++ {
			n := uint64(s * 100 * slot)
			l.Samples = append(l.Samples, Sample{at(s), n, map[string]uint64{"idc": uint64(s % 7 * 100), "s3": 5}, map[string]uint64{"idc": n / 2, "s3": n}})
		}
		tl.Servers = append(tl.Servers, l)
	}
	v := &Verdict{Audit: &audit.Result{Verdict: audit.Complete}, Sent: map[string]uint64{"udp-vpn": 1234567}, Dropped: map[string]uint64{"no room in the socket (kernel)": 62}}
	v.check(true, "what", "it %s", "holds")
	v.Relays = []RelayVerdict{{heavyName, 5432, 5430, map[udprelay.Cause]uint64{udprelay.NoTarget: 2}}}
	v.Servers = []ServerVerdict{{Slot: 1, Instance: "i-1", Lines: map[string]uint64{"idc": 3, "s3": 3}}}
	svg, err := tl.svg()
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := pageTemplate.Execute(&b, r.page(v, tl, svg)); err != nil {
		t.Fatal(err)
	}
	html := b.String()
	for _, want := range []string{"1 234 567", "5 432", "no_target 2", "server 2 is &lt;killed&gt;", "life of each server", "3, 4</text>", "Nothing lost", "<svg ", "currentColor"} {
		if !strings.Contains(html, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	for _, external := range []string{"src=", "<link", "@import", "url(http", "#000000", "<script"} {
		if strings.Contains(html, external) {
			t.Errorf("the page has %q", external)
		}
	}
	if *pageDir != "" {
		if err := os.WriteFile(filepath.Join(*pageDir, "page.html"), []byte(html), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}
