package main

import (
	"bytes"
	"html/template"
	"image/color"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"

	"github.com/penstock-go/penstock/internal/bench/result"
)

// plotted is a plot of how a figure grows.
type plotted struct {
	Title string
	SVG   template.HTML
}

// growth finds the number in a row's name with which figures grow: segments=1000.
var growth = regexp.MustCompile(`([a-zA-Z]+)=([0-9]+)\b`)

// plotsOf plots every column of a table whose rows differ in a number, against that number, with both axes logarithmic. Rows
// that differ in other ways are separate lines.
func plotsOf(t result.Table) (plots []plotted, err error) {
	for column, c := range t.Columns {
		lines := map[string]plotter.XYs{}
		var order []string
		var key string
		for _, r := range t.Rows {
			at := growth.FindStringSubmatchIndex(r.Name)
			if at == nil || r.Cells[column].Number <= 0 {
				continue
			}
			x, err := strconv.ParseFloat(r.Name[at[4]:at[5]], 64)
			if err != nil || x <= 0 {
				continue
			}
			name := strings.Trim(r.Name[:at[0]]+r.Name[at[1]:], " ")
			if lines[name] == nil {
				order = append(order, name)
			}
			key = r.Name[at[2]:at[3]]
			lines[name] = append(lines[name], plotter.XY{X: x, Y: r.Cells[column].Number})
		}
		order = slices.DeleteFunc(order, func(n string) bool { return len(lines[n]) < 3 })
		if len(order) == 0 {
			continue
		}
		svg, err := draws(c.Name, key, order, lines)
		if err != nil {
			return plots, err
		}
		plots = append(plots, plotted{t.Title + ", " + c.Name, svg})
	}
	return plots, nil
}

// The colours have contrast on white and on black. The page replaces ink by the colour of its text.
var (
	palette = []color.Color{color.RGBA{0x5b, 0x8f, 0xd0, 255}, color.RGBA{0xf2, 0x8e, 0x2b, 255}, color.RGBA{0x59, 0xa1, 0x4f, 255}, color.RGBA{0xe1, 0x57, 0x59, 255}, color.RGBA{0xb0, 0x7a, 0xa1, 255}}
	ink     = color.RGBA{A: 255}
)

func draws(unit, key string, order []string, lines map[string]plotter.XYs) (template.HTML, error) {
	p := plot.New()
	p.BackgroundColor = color.Transparent
	p.X.Label.Text, p.Y.Label.Text = key, unit
	p.X.Scale, p.Y.Scale = plot.LogScale{}, plot.LogScale{}
	p.X.Tick.Marker, p.Y.Tick.Marker = plot.LogTicks{Prec: -1}, plot.LogTicks{Prec: -1}
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Tick.Color, a.Label.TextStyle.Color, a.Tick.Label.Color = ink, ink, ink, ink
	}
	p.Legend.TextStyle.Color, p.Legend.Top, p.Legend.Left = ink, true, true
	for i, name := range order {
		points := lines[name]
		slices.SortFunc(points, func(a, b plotter.XY) int { return int(a.X - b.X) })
		line, dots, err := plotter.NewLinePoints(points)
		if err != nil {
			return "", err
		}
		line.Color, dots.Color = palette[i%len(palette)], palette[i%len(palette)]
		line.Width, dots.Shape = vg.Points(1.5), draw.CircleGlyph{}
		p.Add(line, dots)
		if name != "" {
			p.Legend.Add(name, line, dots)
		}
	}
	c := vgsvg.New(vg.Length(420), vg.Length(260))
	p.Draw(draw.New(c))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	s := b.String()
	s = strings.NewReplacer("#000000", "currentColor", "fill:black", "fill:currentColor").Replace(s[strings.Index(s, "<svg"):])
	// This program makes the picture from numbers and from names in this repository, so it is trusted.
	return template.HTML(s), nil
}
