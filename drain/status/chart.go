package status

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A chart is drawn in these coordinates and scaled to its place on the page.
const (
	chartWidth  = 360
	chartHeight = 64
	// chartColumns bounds the points that are drawn: two points in one pixel would be useless.
	chartColumns = 180
)

// chart shows the course of one number, or of one number per destination, as lines that end at the right edge, which is
// now.
type chart struct {
	Title string
	Now   string // the newest value
	High  string // the value at the upper edge
	From  string // how long ago the left edge is
	Label string // a description of the chart, for screen readers
	Bars  bool   // the values are counts in each step, not levels
	Lines []line
}

// line is one of the values of a chart.
type line struct {
	Name string // empty if there is only one
	Now  string
	Path string // the line, for the attribute d
	Area string // the same, closed along the lower edge
	Kind int    // index of its style
}

// series has the values of a line, one for each step, the newest last. NaN is unknown.
type series struct {
	name   string
	values []float64
}

// shown returns how much time a chart of so many steps shows: less than an hour for a young process, whose chart would
// otherwise be mostly empty.
func shown(steps int) time.Duration {
	for _, d := range []time.Duration{10 * time.Minute, 20 * time.Minute, 30 * time.Minute} {
		if time.Duration(steps)*step <= d {
			return d
		}
	}
	return span
}

// newChart draws series on one scale.
func newChart(title string, write func(float64) string, base float64, all ...series) chart {
	steps := 0
	for _, s := range all {
		steps = max(steps, len(s.values))
	}
	from := shown(steps)
	width := max(1, (int(from/step)+chartColumns-1)/chartColumns) // steps per column
	highest, words := 0.0, []string{}
	for i := range all {
		all[i].values = thinned(all[i].values, width)
		for _, v := range all[i].values {
			if v > highest { // false for NaN
				highest = v
			}
		}
	}
	high := edge(highest, base)
	c := chart{Title: title, High: write(high), From: length(from.Seconds())}
	dx := chartWidth / (float64(from/step) / float64(width))
	for i, s := range all {
		now := unknown
		if n := len(s.values); n > 0 {
			now = write(s.values[n-1])
		}
		l := line{Name: s.name, Now: now, Kind: i % 6}
		l.Path, l.Area = paths(s.values, dx, high)
		c.Lines, c.Now, words = append(c.Lines, l), now, append(words, strings.TrimSpace(s.name+" now "+now))
	}
	c.Label = fmt.Sprintf("%s in the last %s: %s; at most %s", title, c.From, strings.Join(words, ", "), write(highest))
	return c
}

// thinned joins width neighbours into one. It keeps the highest of them, so that a peak does not vanish.
func thinned(values []float64, width int) (out []float64) {
	for end := len(values); end > 0; end -= width { // from the newest, so that the columns do not jump with each new point
		high := math.NaN()
		for _, v := range values[max(0, end-width):end] {
			if math.IsNaN(high) || v > high {
				high = v
			}
		}
		out = append(out, high)
	}
	slices.Reverse(out)
	return out
}

// edge returns the next round number, for the upper edge of a chart. base is 1000, or 1024 for bytes.
func edge(v, base float64) float64 {
	unit := 1.0
	for v/unit >= base {
		unit *= base
	}
	for _, m := range []float64{1, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 40, 50, 60, 80, 100, 150, 200, 300, 400, 500, 600, 800} {
		if m*unit >= v {
			return m * unit
		}
	}
	return base * unit
}

// paths draws values at a distance of dx, up to the right edge. A gap interrupts the line.
func paths(values []float64, dx, high float64) (path, area string) {
	var p, a strings.Builder
	number := func(b []byte, v float64) []byte { return strconv.AppendFloat(b, v, 'f', 1, 64) }
	for from := 0; from < len(values); {
		var run []byte
		x0, x, verb, i := 0.0, 0.0, byte('M'), from
		for ; i < len(values) && !math.IsNaN(values[i]); i++ {
			x = chartWidth - float64(len(values)-1-i)*dx
			if i == from {
				x0 = x
			}
			run = append(number(append(run, verb), x), ' ')
			run, verb = number(run, chartHeight-1-max(0, values[i])/high*(chartHeight-3)), 'L'
		}
		if i > from {
			p.Write(run)
			a.Write(run)
			fmt.Fprintf(&a, "L%.1f %dL%.1f %dZ", x, chartHeight, x0, chartHeight)
		}
		from = i + 1
	}
	return p.String(), a.String()
}

// charts draws the last hour of a class.
func charts(h ClassHistory, dests []Destination) []chart {
	received, lost := series{}, series{}
	backlog := make([]series, len(dests))
	for _, p := range h.Points {
		received.values = append(received.values, orNaN(p.Received.Records))
		lost.values = append(lost.values, float64(p.Lost))
		for i, d := range dests {
			backlog[i].name = d.Destination
			v := math.NaN()
			if x, ok := p.Destinations[d.Destination]; ok {
				v = float64(x.Pending.Bytes)
			}
			backlog[i].values = append(backlog[i].values, v)
		}
	}
	total := sum(lost.values)
	all := []chart{
		newChart("Received per second", short, 1000, received),
		newChart("Backlog", size, 1024, backlog...),
		newChart("Lost", short, 1000, lost),
	}
	l := &all[2]
	l.Bars, l.Now = true, short(total)
	l.Label = fmt.Sprintf("Records lost in the last %s: %s in all", l.From, l.Now)
	return all
}

func orNaN(v *float64) float64 {
	if v == nil {
		return math.NaN()
	}
	return *v
}

func sum(values []float64) (s float64) {
	for _, v := range values {
		s += v
	}
	return s
}
