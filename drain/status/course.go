package status

import (
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/spool/segment"
)

// History is the course of the last hour. Its JSON is /status.json?history.
type History struct {
	Version int            `json:"version"` // 1
	Step    float64        `json:"step_seconds"`
	Classes []ClassHistory `json:"classes"` // by name
}

// ClassHistory is the course of a class, the oldest point first.
type ClassHistory struct {
	Class  string  `json:"class"`
	Points []Point `json:"points"`
}

// Point is one step of a class.
type Point struct {
	Time time.Time `json:"time"` // the end of the step
	// Received and Kept are rates over the step, Lost counts what was lost in it.
	Received Rate   `json:"received_rate"`
	Kept     Rate   `json:"kept_rate"`
	Lost     uint64 `json:"lost_records"`
	Used     int64  `json:"used_bytes"`
	// Destinations by name.
	Destinations map[string]DestinationPoint `json:"destinations"`
}

// DestinationPoint is one step of a destination.
type DestinationPoint struct {
	Delivered Rate          `json:"delivered_rate"`
	Pending   segment.Tally `json:"pending"`
}

// course returns the course of the last hour, with one point for each 10 seconds.
func (w *Watch) course() *History {
	h := &w.history
	h.mu.Lock()
	defer h.mu.Unlock()
	out := &History{Version: 1, Step: step.Seconds(), Classes: []ClassHistory{}}
	for _, name := range slices.Sorted(maps.Keys(h.classes)) {
		out.Classes = append(out.Classes, ClassHistory{name, h.classes[name].course(h.began)})
	}
	return out
}

// course turns counters into rates.
func (c *classHistory) course(began time.Time) []Point {
	points := []Point{}
	for i := 1; i < c.points.len(); i++ {
		before, p := c.points.at(i-1), c.points.at(i)
		lost := p.lost.Sub(before.lost)
		points = append(points, Point{
			Time: began.Add(p.at).UTC(), Received: perSecond(p.received.Sub(before.received), p.at-before.at),
			Kept: perSecond(p.kept.Sub(before.kept), p.at-before.at), Lost: lost.Total().Records, Used: p.used,
			Destinations: make(map[string]DestinationPoint, len(c.dests)),
		})
	}
	for name, r := range c.dests {
		for i := 1; i < r.len(); i++ {
			before, p := r.at(i-1), r.at(i)
			// All rings of a class end with the same point.
			if at := len(points) - (r.len() - i); at >= 0 {
				points[at].Destinations[name] = DestinationPoint{perSecond(p.delivered.Sub(before.delivered), p.at-before.at), p.pending}
			}
		}
	}
	return points
}

func perSecond(t segment.Tally, d time.Duration) Rate {
	if d <= 0 {
		return Rate{}
	}
	records, bytes := float64(t.Records)/d.Seconds(), float64(t.Bytes)/d.Seconds()
	return Rate{&records, &bytes}
}
