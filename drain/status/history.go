package status

import (
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ingest"
	"github.com/penstock-go/penstock/spool/segment"
)

// trendWindow is the time over which the times until full and until empty are estimated. Segments are allocated and deleted
// as a whole, so a shorter window would show steps and no trend.
const trendWindow = 5 * time.Minute

// history has the counters of the last hour. Its times are from the monotonic clock.
type history struct {
	mu        sync.Mutex
	began     time.Time
	classes   map[string]*classHistory
	listeners map[string]*ring[flow]
}

// flow is how much a listener had received at a time.
type flow struct {
	at       time.Duration
	received segment.Tally
}

// classHistory is the history of one class.
type classHistory struct {
	points ring[classPoint]
	dests  map[string]*ring[destPoint]
}

// classPoint has the counters of a class at one moment.
type classPoint struct {
	at             time.Duration
	received, kept segment.Tally
	lost           segment.Losses
	used           int64
	free           float64 // of its disk, NaN if unknown
}

// destPoint has the counters of a destination at one moment.
type destPoint struct {
	at                 time.Duration
	delivered, pending segment.Tally
}

func newHistory(now time.Time) history {
	return history{began: now, classes: map[string]*classHistory{}, listeners: map[string]*ring[flow]{}}
}

// due reports whether a class needs a new point.
func (h *history) due(class string, now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.classes[class]
	return c == nil || c.points.len() == 0 || now.Sub(h.began)-c.points.last().at >= step
}

// note adds a point of one class.
func (h *history) note(dc drain.Class, free float64, now time.Time) {
	sp := dc.Shipper.Spool()
	st, ledger, stats := sp.Stats(), sp.Ledger(), dc.Shipper.Stats()
	flows, lost := map[string]segment.Tally{}, segment.Losses{}
	for _, in := range dc.Inputs {
		if l, ok := in.(ingest.Listener); ok {
			now := l.Stats()
			flows[st.Class+" "+nameOf(l)] = now.Received
			lost.Add(now.Lost)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.classes[st.Class]
	if c == nil {
		c = &classHistory{dests: map[string]*ring[destPoint]{}}
		h.classes[st.Class] = c
	}
	if c.points.len() == 0 { // what this process has lost by now also belongs to the last hour
		ledger.Lost = ledger.Lost.Sub(lost)
	}
	at := now.Sub(h.began)
	c.points.add(classPoint{at, ledger.Received, ledger.Kept, ledger.Lost, st.Used, free})
	for name, d := range stats {
		put(c.dests, name, destPoint{at, d.Delivered, d.Pending})
	}
	for name, t := range flows {
		put(h.listeners, name, flow{at, t})
	}
}

func put[T any](in map[string]*ring[T], name string, p T) {
	if in[name] == nil {
		in[name] = new(ring[T])
	}
	in[name].add(p)
}

// nameOf distinguishes the listeners of a class.
func nameOf(l ingest.Listener) string { return l.Addr().Network() + " " + l.Addr().String() }

// rate returns how fast a count has grown since a point that is some seconds old.
func rate[T any](r *ring[T], at time.Duration, now segment.Tally, value func(*T) (time.Duration, segment.Tally)) (out Rate) {
	for i := r.len() - 1; i >= 0; i-- {
		then, before := value(r.at(i))
		age := at - then
		if age < step && (i > 0 || age < step/10) {
			continue // too short for a rate
		}
		grown := now.Sub(before)
		records, bytes := float64(grown.Records)/age.Seconds(), float64(grown.Bytes)/age.Seconds()
		return Rate{&records, &bytes}
	}
	return Rate{}
}

// fill adds to a class the values that need its history.
func (h *history) fill(c *Class, running bool, now time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	at := now.Sub(h.began)
	for i := range c.Listeners {
		l := &c.Listeners[i]
		if r := h.listeners[c.Class+" "+l.Network+" "+l.Addr]; r != nil {
			l.Rate = rate(r, at, l.Received, func(f *flow) (time.Duration, segment.Tally) { return f.at, f.received })
		}
	}
	hc := h.classes[c.Class]
	if hc == nil {
		return
	}
	c.Received = rate(&hc.points, at, c.Balance.Received, func(p *classPoint) (time.Duration, segment.Tally) { return p.at, p.received })
	c.Kept = rate(&hc.points, at, c.Balance.Kept, func(p *classPoint) (time.Duration, segment.Tally) { return p.at, p.kept })
	c.LostLastHour = c.Balance.Lost.Sub(hc.points.at(0).lost)
	grow, ok := slope(&hc.points, trendWindow, func(p *classPoint) (time.Duration, float64) { return p.at, float64(p.used) })
	c.Spool.UntilFull = until(float64(c.Spool.Quota-c.Spool.Used), grow, ok)
	for i := range c.Destinations {
		d := &c.Destinations[i]
		if r := hc.dests[d.Destination]; r != nil && running {
			d.trend(r)
		}
	}
}

// until returns the time in which a value that grows by grow per second uses up left; null if it does not.
func until(left, grow float64, known bool) *float64 {
	if !known || grow < 1 {
		return nil
	}
	s := max(0, left) / grow
	return &s
}

// keptUp is the number of segments that may be in transit without being a backlog.
const keptUp = 4

// trend replaces the time until empty, if there is a backlog, by one that includes the records that will arrive
// meanwhile.
func (d *Destination) trend(r *ring[destPoint]) {
	if d.PendingSegments <= keptUp {
		return
	}
	grow, ok := slope(r, trendWindow, func(p *destPoint) (time.Duration, float64) { return p.at, float64(p.pending.Bytes) })
	if ok {
		d.UntilEmpty = until(float64(d.Pending.Bytes), -grow, true)
	}
}

// diskTrend returns the time until a class's disk is full; null if it is not filling.
func (h *history) diskTrend(class string, free int64) *float64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.classes[class]
	if c == nil {
		return nil
	}
	grow, ok := slope(&c.points, trendWindow, func(p *classPoint) (time.Duration, float64) { return p.at, -p.free })
	return until(float64(free), grow, ok)
}
