//go:build linux

package fleet

import (
	_ "embed"
	"fmt"
	"html/template"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

//go:embed page.html
var pageText string

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"color": func(p Phase) template.CSS {
		r, g, b, _ := phaseColors[p].RGBA()
		return template.CSS(fmt.Sprintf("#%02x%02x%02x", r>>8, g>>8, b>>8))
	},
	"count": grouped,
}).Parse(pageText))

// page is what the page of a run shows.
type page struct {
	Title, Verdict string
	OK             bool
	Plan           string
	Totals         []total
	SVG            template.HTML
	Phases         []Phase
	Marks          []Mark
	Began          time.Time
	Dropped        []total
	Relays         []RelayVerdict
	Servers        []ServerVerdict
	Checks         []Check
	Held           int
}

// total is a number with its name.
type total struct{ Name, Value string }

// Seconds of a mark since the begin.
func (p page) Seconds(m Mark) string { return fmt.Sprintf("%.1f", m.At.Sub(p.Began).Seconds()) }

// grouped writes a number with spaces between the thousands.
func grouped(n uint64) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + " " + s[i:]
	}
	return s
}

// write writes the page and the picture of a run.
func (r *Run) write(dir string, v *Verdict) error {
	tl := r.timeline()
	svg, err := tl.svg()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	name := filepath.Join(dir, fmt.Sprintf("fleet-%s-%d", r.form.Name, r.plan.Seed))
	// A picture on its own has no text around it: it follows the theme itself.
	alone := strings.Replace(svg, "<svg ", `<svg style="color-scheme:light dark;color:light-dark(#111,#eee);background:light-dark(#fff,#111)" `, 1)
	if err := os.WriteFile(name+".svg", []byte(alone), 0o644); err != nil {
		return err
	}
	f, err := os.Create(name + ".html")
	if err != nil {
		return err
	}
	if err := pageTemplate.Execute(f, r.page(v, tl, svg)); err != nil {
		f.Close()
		return err
	}
	r.Logf("wrote %s.html and .svg", name)
	return f.Close()
}

// timeline gathers the data of the picture.
func (r *Run) timeline() *Timeline {
	t := &Timeline{Began: r.began, Ended: r.ended, Marks: r.watch.marks}
	for _, s := range r.all() {
		t.Servers = append(t.Servers, ServerLine{s.slot, s.Life(), r.watch.samples[s.slot]})
	}
	return t
}

// page gathers everything that the page shows.
func (r *Run) page(v *Verdict, tl *Timeline, svg string) page {
	p := page{
		Title: fmt.Sprintf("Fleet run, form %s, seed %d", r.form.Name, r.plan.Seed), OK: v.OK(), Plan: r.plan.String(), Began: r.began,
		// The picture is made by this program out of numbers, and of texts of this program.
		SVG: template.HTML(svg[strings.Index(svg, "<svg"):]), Phases: []Phase{Starting, Serving, Draining, Retained, Killed},
		Marks: tl.Marks, Relays: v.Relays, Servers: v.Servers, Checks: v.Checks,
	}
	var sent, dropped, relayed uint64
	for _, n := range v.Sent {
		sent += n
	}
	for _, cause := range slices.Sorted(maps.Keys(v.Dropped)) {
		dropped += v.Dropped[cause]
		p.Dropped = append(p.Dropped, total{cause, grouped(v.Dropped[cause])})
	}
	for _, relay := range v.Relays {
		relayed += relay.Out
	}
	for _, c := range v.Checks {
		if c.OK {
			p.Held++
		}
	}
	p.Verdict = fmt.Sprintf("%d of %d checks hold. The auditor says: %s.", p.Held, len(v.Checks), v.Audit.Verdict)
	quiet, _ := r.probe.P99(r.quiet[0], r.quiet[1])
	flooded, _ := r.probe.P99(r.flooded[0], r.flooded[1])
	_, average, most := r.loaded()
	p.Totals = []total{
		{"Records sent", grouped(sent)},
		{"Datagrams that relays have spread", grouped(relayed)},
		{"Datagrams a second, on average and in the busiest 5 s", grouped(uint64(average)) + ", " + grouped(uint64(most))},
		{"Servers that have lived", fmt.Sprint(len(v.Servers))},
		{"Run", tl.Ended.Sub(tl.Began).Round(time.Second).String()},
		{"Times of the platform divided by", fmt.Sprint(r.Rules.Scale)},
		{"Datagrams dropped, by the causes below", grouped(dropped)},
		{"Read by the killed server and lost, of at most", grouped(v.Arrived) + " of " + grouped(v.Bound)},
		{"Killed server's records verified at both destinations after", r.Recovered.Round(100 * time.Millisecond).String()},
		{"Isolated class, 99 % durable within, and in the flood", quiet.Round(100*time.Microsecond).String() + ", " + flooded.Round(100*time.Microsecond).String()},
	}
	return p
}
