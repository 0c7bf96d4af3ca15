package report

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/penstock-go/penstock/examples/internal/units"
)

// A plot is drawn in these coordinates and stretched to fit; its labels are HTML, which is not stretched.
const (
	plotWidth  = 1000
	plotHeight = 160
)

// plot shows one number or two over time.
type plot struct {
	Title, High, Half, Label string
	Times                    []string // labels along the lower edge
	Lossy                    bool
	Lines                    []line
}

type line struct {
	Name, Most, Path, Area string
	Kind                   int
	values                 []float64
}

func newLine(name string, values []float64) line {
	return line{Name: name, Most: short(slices.Max(values)), values: values}
}

// newPlot draws lines on one scale. The first is filled.
func newPlot(title string, took float64, lines ...line) plot {
	high := 0.0
	for _, l := range lines {
		high = max(high, slices.Max(l.values))
	}
	high = edge(high)
	p := plot{Title: title, High: short(high), Half: short(high / 2), Lines: lines, Label: title}
	for i := range p.Lines {
		l := &p.Lines[i]
		l.Kind = i
		l.Path = path(l.values, high)
		if i == 0 {
			l.Area = fmt.Sprintf("%sL%d %dL0 %dZ", l.Path, plotWidth, plotHeight, plotHeight)
		}
		p.Label += fmt.Sprintf("; %s: at most %s", l.Name, l.Most)
	}
	for i := range 5 {
		p.Times = append(p.Times, clock(took*float64(i)/4))
	}
	return p
}

// path draws values as steps: each is the mean over its part of the time.
func path(values []float64, high float64) string {
	var b []byte
	dx := plotWidth / float64(len(values))
	number := func(v float64) { b = strconv.AppendFloat(b, v, 'f', 1, 64) }
	for i, v := range values {
		verb := byte('L')
		if i == 0 {
			verb = 'M'
		}
		y := plotHeight - 1 - v/high*(plotHeight-4)
		b = append(b, verb)
		number(float64(i) * dx)
		b = append(b, ' ')
		number(y)
		b = append(b, 'L')
		number(float64(i+1) * dx)
		b = append(b, ' ')
		number(y)
	}
	return string(b)
}

// edge returns the next round number.
func edge(v float64) float64 {
	if !(v > 0) {
		return 1
	}
	unit := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8} {
		if m*unit >= v {
			return m * unit
		}
	}
	return 10 * unit
}

// clock formats a time since the start.
func clock(s float64) string {
	d := time.Duration(s * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", s)
	case d < time.Hour:
		return fmt.Sprintf("%d:%02d", int(d.Minutes()), int(d.Seconds())%60)
	}
	return fmt.Sprintf("%d:%02d:%02d", int(d.Hours()), int(d.Minutes())%60, int(d.Seconds())%60)
}

// bars shows the shares of the busiest sources.
type bars struct {
	Title, Label string
	Bars         []oneBar
}

type oneBar struct {
	X, Y, Width, Height float64
	Title               string
}

// maxBars bounds how many sources are drawn.
const maxBars = 50

// newBars draws the sources of all machines; nil if there is only one.
func newBars(reports []Report) *bars {
	var all []uint64
	count, total := 0, uint64(0)
	for _, r := range reports {
		all = append(all, r.Sources...)
		count, total = count+r.SourceCount, total+r.Sent
	}
	if len(all) < 2 || total == 0 {
		return nil
	}
	slices.Sort(all)
	slices.Reverse(all)
	all = all[:min(len(all), maxBars)]
	b := &bars{Title: fmt.Sprintf("Lines of the %d busiest of %d sources", len(all), count)}
	width := plotWidth / float64(len(all))
	for i, n := range all {
		height := float64(n) / float64(max(1, all[0])) * (plotHeight - 4)
		b.Bars = append(b.Bars, oneBar{
			float64(i) * width, plotHeight - height, width * 0.8, height,
			fmt.Sprintf("%s lines, %.2f %%", units.Grouped(n), 100*float64(n)/float64(total)),
		})
	}
	b.Label = fmt.Sprintf("%s: the first has %s", b.Title, b.Bars[0].Title)
	return b
}
