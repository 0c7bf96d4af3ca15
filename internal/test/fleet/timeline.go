//go:build linux

package fleet

import (
	"bytes"
	"fmt"
	"image/color"
	"slices"
	"strings"
	"time"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Timeline is everything that the picture of a run shows. It is plain data, so that a picture can be made without a run.
type Timeline struct {
	Began, Ended time.Time
	Servers      []ServerLine
	Marks        []Mark
}

// ServerLine is the life of one server.
type ServerLine struct {
	Slot    int
	Life    []Step
	Samples []Sample
}

// The colours have contrast on white and on black.
var (
	serverColors = colors("#5b8fd0", "#f28e2b", "#59a14f", "#b07aa1", "#e15759", "#76b7b2", "#9c755f", "#d37295", "#a0a030", "#499894", "#8c8c8c", "#c06030")
	phaseColors  = map[Phase]color.Color{
		Starting: hex("#8c8c8c"), Serving: hex("#59a14f"), Draining: hex("#c9a227"), Retained: hex("#b07aa1"), Killed: hex("#e15759"),
	}
	destColors = map[string]color.Color{"idc": hex("#f28e2b"), "s3": hex("#5b8fd0")}
	grey       = hex("#8c8c8c")
	// ink is what the page replaces by the colour of its text.
	ink = color.RGBA{A: 255}
)

func colors(all ...string) (list []color.Color) {
	for _, c := range all {
		list = append(list, hex(c))
	}
	return list
}

func hex(s string) color.Color {
	var r, g, b uint8
	_, _ = fmt.Sscanf(s, "#%02x%02x%02x", &r, &g, &b) // constants of this file
	return color.RGBA{r, g, b, 255}
}

// The size of the picture.
const (
	width  = vg.Length(900)
	height = vg.Length(960)
)

// svg draws the timeline. Its text and its axes have the colour of the text around the picture.
func (t *Timeline) svg() (string, error) {
	rates := t.panel("received, records/s")
	life := t.panel("life of each server")
	backlog := t.panel("backlog, records")
	delivery := t.panel("delivered, records/s")
	for _, err := range []error{t.addRates(rates), t.addLife(life), t.addBacklog(backlog), t.addDelivery(delivery)} {
		if err != nil {
			return "", err
		}
	}
	delivery.X.Label.Text = "seconds since the stage was begun"
	panels := [][]*plot.Plot{{rates}, {life}, {backlog}, {delivery}}
	c := vgsvg.New(width, height)
	tiles := draw.Tiles{Rows: len(panels), Cols: 1, PadTop: vg.Points(6), PadBottom: vg.Points(4), PadLeft: vg.Points(6), PadRight: vg.Points(12), PadY: vg.Points(10)}
	for i, row := range plot.Align(panels, tiles, draw.New(c)) {
		panels[i][0].Draw(row[0])
	}
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		return "", err
	}
	// Text has no colour of its own.
	themed := strings.ReplaceAll(b.String(), "#000000", "currentColor")
	return strings.Replace(themed, "<svg ", `<svg fill="currentColor" `, 1), nil
}

// panel is an empty plot over the time of the run, with the marks.
func (t *Timeline) panel(title string) *plot.Plot {
	p := plot.New()
	for _, f := range []*font.Font{
		&p.Title.TextStyle.Font, &p.X.Label.TextStyle.Font, &p.X.Tick.Label.Font, &p.Y.Label.TextStyle.Font, &p.Y.Tick.Label.Font, &p.Legend.TextStyle.Font,
	} {
		f.Variant = "Sans"
	}
	p.BackgroundColor = color.Transparent
	p.Title.Text, p.Title.TextStyle.Font.Size = title, vg.Points(11)
	p.X.Min, p.X.Max = 0, t.Ended.Sub(t.Began).Seconds()
	p.Y.Min = 0
	for _, a := range []*plot.Axis{&p.X, &p.Y} {
		a.Color, a.Label.TextStyle.Color, a.Tick.Label.Color, a.Tick.Color = ink, ink, ink, ink
		a.Tick.Marker = wholeTicks{}
		a.Tick.Label.Font.Size, a.Label.TextStyle.Font.Size = vg.Points(8), vg.Points(9)
	}
	p.Legend.TextStyle.Font.Size = vg.Points(8)
	p.Legend.Top, p.Legend.YOffs = true, -vg.Points(12) // below the numbers of the marks
	p.Add(marks{t})
	return p
}

// wholeTicks are the usual ticks, without decimals.
type wholeTicks struct{}

// Ticks implements plot.Ticker.
func (wholeTicks) Ticks(low, high float64) []plot.Tick {
	ticks := plot.DefaultTicks{}.Ticks(low, high)
	for i, t := range ticks {
		if t.Label != "" {
			ticks[i].Label = fmt.Sprintf("%.0f", t.Value)
		}
	}
	return ticks
}

// since are the seconds of a time in the run.
func (t *Timeline) since(at time.Time) float64 { return at.Sub(t.Began).Seconds() }

// perSecond is how fast a count of the samples grows.
func (t *Timeline) perSecond(all []Sample, count func(Sample) uint64) (xys plotter.XYs) {
	for i := 1; i < len(all); i++ {
		a, b := all[i-1], all[i]
		if dt := b.At.Sub(a.At).Seconds(); dt > 0 && count(b) >= count(a) {
			xys = append(xys, plotter.XY{X: t.since(b.At), Y: float64(count(b)-count(a)) / dt})
		}
	}
	return xys
}

// sum adds up the lines of all servers, in steps of a second.
func (t *Timeline) sum(lines []plotter.XYs) (total plotter.XYs) {
	for x := 0.0; x < t.Ended.Sub(t.Began).Seconds(); x++ {
		y := 0.0
		for _, l := range lines {
			i, _ := slices.BinarySearchFunc(l, x, func(p plotter.XY, x float64) int {
				if p.X < x {
					return -1
				}
				return 1
			})
			if i < len(l) && l[i].X < x+7 { // it is alive
				y += l[i].Y
			}
		}
		total = append(total, plotter.XY{X: x, Y: y})
	}
	return total
}

// add adds one line.
func add(p *plot.Plot, name string, xys plotter.XYs, c color.Color, w float64) error {
	if len(xys) == 0 {
		return nil
	}
	l, err := plotter.NewLine(xys)
	if err != nil {
		return err
	}
	l.Color, l.Width = c, vg.Points(w)
	p.Add(l)
	if name != "" {
		p.Legend.Add(name, l)
	}
	return nil
}

// perServer adds a thin line for each server, and a thick one for all together.
func (t *Timeline) perServer(p *plot.Plot, line func(ServerLine) plotter.XYs) error {
	var all []plotter.XYs
	for i, s := range t.Servers {
		l := line(s)
		all = append(all, l)
		if err := add(p, "", l, serverColors[i%len(serverColors)], 0.8); err != nil {
			return err
		}
	}
	return add(p, "all servers", t.sum(all), ink, 1.4)
}

func (t *Timeline) addRates(p *plot.Plot) error {
	return t.perServer(p, func(s ServerLine) plotter.XYs {
		return t.perSecond(s.Samples, func(x Sample) uint64 { return x.Received })
	})
}

func (t *Timeline) addBacklog(p *plot.Plot) error {
	return t.perServer(p, func(s ServerLine) (xys plotter.XYs) {
		for _, x := range s.Samples {
			var most uint64
			for _, n := range x.Pending {
				most = max(most, n)
			}
			xys = append(xys, plotter.XY{X: t.since(x.At), Y: float64(most)})
		}
		return xys
	})
}

func (t *Timeline) addDelivery(p *plot.Plot) error {
	for _, dest := range []string{"s3", "idc"} {
		var all []plotter.XYs
		for _, s := range t.Servers {
			all = append(all, t.perSecond(s.Samples, func(x Sample) uint64 { return x.Delivered[dest] }))
		}
		if err := add(p, dest, t.sum(all), destColors[dest], 1.2); err != nil {
			return err
		}
	}
	return nil
}

// addLife adds a bar for each server.
func (t *Timeline) addLife(p *plot.Plot) error {
	p.Y.Min, p.Y.Max = 0.3, float64(len(t.Servers))+0.7
	ticks := make(plot.ConstantTicks, len(t.Servers))
	for i, s := range t.Servers {
		ticks[i] = plot.Tick{Value: float64(i + 1), Label: fmt.Sprint(s.Slot)}
	}
	p.Y.Tick.Marker = ticks
	p.Add(lives{t})
	return nil
}

// lives draws the phases of every server.
type lives struct{ *Timeline }

// Plot implements plot.Plotter.
func (l lives) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	for i, s := range l.Servers {
		for j, step := range s.Life {
			end := l.Ended
			if j+1 < len(s.Life) {
				end = s.Life[j+1].At
			}
			if step.Phase == Gone {
				continue
			}
			if step.Phase == Killed { // a server that is dead lives no longer: a mark is enough
				end = step.At.Add(l.Ended.Sub(l.Began) / 100)
			}
			x0, x1, mid, half := x(l.since(step.At)), x(l.since(end)), y(float64(i+1)), vg.Points(4)
			c.FillPolygon(phaseColors[step.Phase], []vg.Point{{X: x0, Y: mid - half}, {X: x1, Y: mid - half}, {X: x1, Y: mid + half}, {X: x0, Y: mid + half}})
		}
	}
}

// marks draws a line at each event that has a number.
type marks struct{ *Timeline }

// Plot implements plot.Plotter.
func (m marks) Plot(c draw.Canvas, p *plot.Plot) {
	x, _ := p.Transforms(&c)
	style := draw.LineStyle{Color: grey, Width: vg.Points(0.6), Dashes: []vg.Length{vg.Points(2), vg.Points(2)}}
	text := p.X.Tick.Label
	text.Font.Size, text.Color, text.XAlign, text.YAlign = font.Length(vg.Points(8)), ink, draw.XLeft, draw.YTop
	const apart = 14 // points that two numbers need
	var label string
	var from, last vg.Length
	write := func() { c.FillText(text, vg.Point{X: from + vg.Points(1.5), Y: c.Max.Y}, label) }
	for _, mark := range m.Marks {
		if mark.Number == 0 {
			continue
		}
		at := x(m.since(mark.At))
		c.StrokeLine2(style, at, c.Min.Y, at, c.Max.Y)
		number := fmt.Sprint(mark.Number)
		switch {
		case label == "":
			label, from = number, at
		case at-last < vg.Points(apart): // they would be written over each other
			label += ", " + number
		default:
			write()
			label, from = number, at
		}
		last = at + vg.Points(5)*vg.Length(len(label)-len(number))
	}
	write()
}
