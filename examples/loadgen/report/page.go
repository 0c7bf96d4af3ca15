package report

import (
	"bytes"
	_ "embed"
	"fmt"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/penstock-go/penstock/examples/internal/units"
)

var (
	//go:embed page.html
	pageHTML string
	//go:embed style.css
	styleCSS string
)

// page is the data of the template.
type page struct {
	*Check
	Title, Level, Word string
	Begin, End         time.Time
	Sent, Bytes        uint64
	PerSecond          float64
	Behind             uint64
	Machines           []machine
	Plots              []plot
	Bars               *bars
	Notes              []string
	Style              template.CSS
	Made               string
}

// machine is a row of the table of machines.
type machine struct {
	Report
	PerSecond float64
	Skipped   []cause
}

type cause struct {
	Name string
	N    uint64
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{
	"stamp": func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
	"count": func(n uint64) string { return units.Grouped(n) },
	"rate":  func(v float64) string { return short(v) },
	"bytes": func(n uint64) string { return short(float64(n)) + "B" },
	"known": func(n *uint64) string {
		if n == nil {
			return "unknown"
		}
		return units.Grouped(*n)
	},
	"pos": func(n *uint64) bool { return n != nil && *n > 0 },
}).Parse(pageHTML))

// WritePage writes a self-contained page with plots.
func WritePage(path string, c *Check, made string) error {
	b, err := Page(c, made)
	if err != nil {
		return err
	}
	return Write(path, b)
}

// Page makes the page. made names the program that makes it.
func Page(c *Check, made string) ([]byte, error) {
	p := &page{Check: c, Style: template.CSS(styleCSS), Made: made, Title: "Load test", Level: "none", Word: "sent, not checked"}
	p.sum()
	switch {
	case len(c.Found) == 0:
	case c.OK:
		p.Level, p.Word = "ok", "every line is there once, as it was sent"
	default:
		p.Level, p.Word = "error", "not every line is there once, as it was sent"
	}
	if len(c.Reports) > 0 {
		p.draw()
	}
	var b bytes.Buffer
	err := pageTemplate.Execute(&b, p)
	return b.Bytes(), err
}

// sum adds up the reports of the machines.
func (p *page) sum() {
	var names []string
	for _, r := range p.Reports {
		end := r.Started.Add(seconds(r.Seconds))
		if p.Begin.IsZero() || r.Started.Before(p.Begin) {
			p.Begin = r.Started
		}
		if end.After(p.End) {
			p.End = end
		}
		p.Sent, p.Bytes, p.Behind = p.Sent+r.Sent, p.Bytes+r.Bytes, max(p.Behind, r.Behind)
		m := machine{Report: r, PerSecond: float64(r.Sent) / max(r.Seconds, 1e-9)}
		if r.Replay != nil {
			for name, n := range r.Replay.Skipped {
				m.Skipped = append(m.Skipped, cause{name, n})
			}
			slices.SortFunc(m.Skipped, func(a, b cause) int { return strings.Compare(a.Name, b.Name) })
		}
		p.Machines = append(p.Machines, m)
		names = append(names, r.Run)
		if r.Error != "" {
			p.Notes = append(p.Notes, fmt.Sprintf("Run %s ended with an error: %s", r.Run, r.Error))
		}
	}
	if took := p.End.Sub(p.Begin); took > 0 {
		p.PerSecond = float64(p.Sent) / took.Seconds()
	}
	if len(names) > 0 {
		p.Title = "Load test " + strings.Join(names[:min(3, len(names))], ", ")
	}
	if len(names) > 3 {
		p.Title += fmt.Sprintf(" and %d more", len(names)-3)
	}
}

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// columns is into how many parts a plot divides the time.
const columns = 240

// draw makes the plots: the sum over all machines for each part of the time.
func (p *page) draw() {
	took := max(p.End.Sub(p.Begin).Seconds(), 0.001)
	n := max(2, min(columns, int(took)))
	step := took / float64(n)
	sent, size, due := make([]float64, n), make([]float64, n), make([]float64, n)
	paced := false
	for _, r := range p.Reports {
		offset := r.Started.Sub(p.Begin).Seconds()
		paced = paced || len(r.Samples) > 0 && r.Samples[len(r.Samples)-1].Due > 0
		for i := range n {
			a, b := float64(i)*step-offset, float64(i+1)*step-offset
			sent[i] += (r.at(b, Sample.sent) - r.at(a, Sample.sent)) / step
			size[i] += (r.at(b, Sample.size) - r.at(a, Sample.size)) / step
			due[i] += (r.at(b, Sample.due) - r.at(a, Sample.due)) / step
		}
	}
	lines := []line{newLine("sent", sent)}
	if paced {
		lines = append(lines, newLine("wanted by the profile", due))
	}
	p.Plots = append(p.Plots, newPlot("Lines per second", took, lines...), newPlot("Bytes per second", took, newLine("sent", size)))
	for _, f := range p.Found {
		if f.Missing != nil && *f.Missing > 0 {
			missing := p.missing(&f, n, step)
			pl := newPlot("Missing at "+f.At+", by the time at which they were sent", took, newLine("missing lines", missing))
			pl.Lossy = true
			p.Plots = append(p.Plots, pl)
		}
	}
	p.Bars = newBars(p.Reports)
}

func (s Sample) sent() float64 { return float64(s.Sent) }
func (s Sample) size() float64 { return float64(s.Bytes) }
func (s Sample) due() float64  { return float64(s.Due) }

// at returns a count at a time, interpolated between two samples.
func (r *Report) at(t float64, value func(Sample) float64) float64 {
	n := len(r.Samples)
	if n == 0 || t <= 0 {
		return 0
	}
	i, _ := slices.BinarySearchFunc(r.Samples, t, func(s Sample, t float64) int {
		if s.Seconds < t {
			return -1
		}
		return 1
	})
	if i == n {
		return value(r.Samples[n-1])
	}
	var before Sample
	if i > 0 {
		before = r.Samples[i-1]
	}
	after := r.Samples[i]
	if after.Seconds <= before.Seconds {
		return value(after)
	}
	return value(before) + (value(after)-value(before))*(t-before.Seconds)/(after.Seconds-before.Seconds)
}

// missing spreads the gaps of a destination over the time at which the lines were sent.
func (p *page) missing(f *Found, n int, step float64) []float64 {
	out := make([]float64, n)
	for _, r := range p.Reports {
		run := f.Runs[r.Run]
		offset := r.Started.Sub(p.Begin).Seconds()
		for part, lines := range run.Gaps {
			if lines == 0 {
				continue
			}
			// Place all lines of the part at its middle.
			number := (float64(part) + 0.5) / float64(len(run.Gaps)) * float64(run.Sent)
			i := int((r.when(number) + offset) / step)
			out[min(max(0, i), n-1)] += float64(lines)
		}
	}
	return out
}

// when returns the time at which number lines had been sent.
func (r *Report) when(number float64) float64 {
	var before Sample
	for _, s := range r.Samples {
		if s.sent() >= number && s.sent() > before.sent() {
			return before.Seconds + (s.Seconds-before.Seconds)*(number-before.sent())/(s.sent()-before.sent())
		}
		before = s
	}
	return before.Seconds
}

// short formats a number in its largest unit.
func short(v float64) string {
	units, i := []string{"", "k", "M", "G", "T", "P"}, 0
	for ; v >= 1000 && i < len(units)-1; i++ {
		v /= 1000
	}
	digits := 1
	if v >= 100 || v == math.Trunc(v) {
		digits = 0
	}
	return strconv.FormatFloat(v, 'f', digits, 64) + "\u202f" + units[i]
}
