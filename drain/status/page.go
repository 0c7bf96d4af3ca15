package status

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/segment"
)

var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/style.css
	styleCSS string
	//go:embed page/script.js
	scriptJS string
)

// security lets the page load nothing but its own contents and request only itself. No other page may frame it.
var security = "default-src 'none'; script-src '" + hash(scriptJS) + "'; style-src '" + hash(styleCSS) + "'; img-src data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// Handler serves the page at /, and the Snapshot at /status.json, or the History with ?history. It is read-only.
func (w *Watch) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(rw http.ResponseWriter, _ *http.Request) {
		page, err := w.last.page(w.render)
		if err != nil {
			http.Error(rw, "the page cannot be made: "+text(err)+"\n/status.json has the same numbers.", http.StatusInternalServerError)
			return
		}
		header(rw, "text/html; charset=utf-8")
		_, _ = rw.Write(page) // the client may be gone
	})
	mux.HandleFunc("GET /status.json", func(rw http.ResponseWriter, r *http.Request) {
		header(rw, "application/json")
		var v any
		if r.URL.Query().Has("history") {
			v = w.course()
		} else {
			v = w.Snapshot()
		}
		_ = json.NewEncoder(rw).Encode(v)
	})
	return mux
}

// lastPage caches the page for a moment, so that many viewers, or one that reloads without pause, cost no more than one.
type lastPage struct {
	mu   sync.Mutex
	at   time.Time
	body []byte
}

// page returns the page; render makes it if the last one is too old. One goroutine makes it while the others wait.
func (s *lastPage) page(render func(*bytes.Buffer) error) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.body != nil && time.Since(s.at) < time.Second {
		return s.body, nil
	}
	var b bytes.Buffer
	if err := render(&b); err != nil {
		return nil, err
	}
	s.at, s.body = time.Now(), b.Bytes()
	return s.body, nil
}

func header(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", security)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// page is the data of the template.
type page struct {
	*Snapshot
	Groups           []group
	Views            []view
	Steps            []phaseStep
	Ends             bool
	Errors, Warnings int
	Style            template.CSS
	Script           template.JS
	Icon             template.URL
}

// view is a class on the page.
type view struct {
	Class
	ID      string // for links
	Time    time.Time
	State   Level
	Word    string // of the state
	Backlog uint64 // bytes pending for the destination with the most
	Oldest  *float64
	Empty   *float64
	Losses  []lossRow
	Charts  []chart
}

// lossRow is a cause of loss.
type lossRow struct {
	Cause             segment.Cause
	Records, LastHour uint64
	Bound             string // "at least " and so on
	Cure              string
}

// render writes the page.
func (w *Watch) render(b *bytes.Buffer) error {
	s, h := w.Snapshot(), w.course()
	return pageTemplate.ExecuteTemplate(b, "page", newPage(s, h))
}

func newPage(s *Snapshot, h *History) *page {
	p := &page{
		Snapshot: s, Style: template.CSS(styleCSS), Script: template.JS(scriptJS), Icon: icon[s.State],
		Ends: s.Drain.Phase != drain.PhaseRun, Steps: steps(s),
	}
	for _, t := range s.Trouble {
		if t.Level == Error {
			p.Errors++
		} else {
			p.Warnings++
		}
	}
	for _, c := range s.Classes {
		v := newView(c, s)
		if i := slices.IndexFunc(h.Classes, func(x ClassHistory) bool { return x.Class == c.Class }); i >= 0 {
			v.Charts = charts(h.Classes[i], c.Destinations)
		}
		p.Views = append(p.Views, v)
	}
	p.Groups = grouped(s.Trouble)
	return p
}

// group is a Trouble that several classes may share.
type group struct {
	Trouble
	Classes []string
}

// grouped joins the Trouble that all classes share, such as that of a destination: twenty equal lines would hide the
// others.
func grouped(all []Trouble) (list []group) {
	for _, t := range all {
		i := slices.IndexFunc(list, func(g group) bool {
			return t.Destination != "" && g.Level == t.Level && g.Destination == t.Destination && g.Cure == t.Cure
		})
		if i < 0 {
			list = append(list, group{Trouble: t})
			i = len(list) - 1
		}
		if t.Class != "" {
			list[i].Classes = append(list[i].Classes, t.Class)
		}
	}
	return list
}

// icon is the page's icon for each state: a dot in its colour.
var icon = map[Level]template.URL{OK: dot("16703f"), Warning: dot("c77700"), Error: dot("b3261e")}

func dot(colour string) template.URL {
	svg := `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><circle cx="8" cy="8" r="6" fill="#` + colour + `"/></svg>`
	return template.URL("data:image/svg+xml," + url.PathEscape(svg))
}

func newView(c Class, s *Snapshot) view {
	v := view{Class: c, ID: "class-" + url.PathEscape(c.Class), Time: s.Time, State: OK, Word: "ok", Oldest: new(float64), Empty: new(float64)}
	for _, t := range s.Trouble { // the worst first
		if t.Class == c.Class {
			v.State, v.Word = t.Level, string(t.Level)
			break
		}
	}
	if c.Down != "" {
		v.Word = "down"
	}
	for _, d := range c.Destinations {
		v.Backlog = max(v.Backlog, d.Pending.Bytes)
		v.Oldest, v.Empty = later(v.Oldest, d.Lag), later(v.Empty, d.UntilEmpty)
	}
	for cause, l := range c.Balance.Lost.All() {
		row := lossRow{Cause: cause, Records: l.Records, LastHour: c.LostLastHour[cause].Records, Cure: cureOfLoss[cause]}
		switch {
		case l.AtLeast && l.AtMost:
			row.Bound = "about "
		case l.AtLeast:
			row.Bound = "at least "
		case l.AtMost:
			row.Bound = "at most "
		}
		v.Losses = append(v.Losses, row)
	}
	return v
}

// later returns the larger of two times; an unknown time is the largest.
func later(a, b *float64) *float64 {
	if a == nil || b == nil {
		return nil
	}
	if *b > *a {
		return b
	}
	return a
}

// LostNow returns how many records were lost in the last hour, LostEver how many in total.
func (v view) LostNow() uint64  { return v.LostLastHour.Total().Records }
func (v view) LostEver() uint64 { return v.Balance.Lost.Total().Records }

// Talking returns the top senders that are not silent.
func (v view) Talking() (list []Sender) {
	for _, s := range v.Senders.Top {
		if !slices.Contains(v.Senders.Silent, s) {
			list = append(list, s)
		}
	}
	return list
}

// UnaccountedRecords returns how many records are known to be neither kept nor lost by a known cause.
func (v view) UnaccountedRecords() (n uint64) {
	for _, u := range v.Balance.Unaccounted {
		n += u.Known.Records
	}
	return n
}

// Unsynced returns how many records are written but not durable yet.
func (v view) Unsynced() uint64 { return v.Spool.Written - min(v.Spool.Written, v.Spool.Durable) }

// phaseStep is a phase of the end on the page.
type phaseStep struct {
	Name, State, Took, Err string
}

// steps returns the phases that are over, the current one, and those to come.
func steps(s *Snapshot) (list []phaseStep) {
	for _, p := range s.Drain.Phases {
		step := phaseStep{Name: p.Name, State: "done", Took: length(p.Seconds), Err: p.Err}
		if p.Err != "" {
			step.State = "failed"
		}
		list = append(list, step)
	}
	list = append(list, phaseStep{Name: strings.ReplaceAll(s.Drain.Phase, "_", "-"), State: "current", Took: "now"})
	coming := s.Drain.Intent.Phases()
	if i := slices.Index(coming, s.Drain.Phase); i >= 0 {
		for _, name := range coming[i+1:] {
			list = append(list, phaseStep{Name: name, State: "coming"})
		}
	}
	return list
}

// bar shows a part of a whole.
type bar struct {
	Percent int
	Level   Level
}

func newBar(part, all int64) bar {
	b := bar{Level: OK}
	if all > 0 {
		b.Percent = int(min(100, max(0, float64(part)/float64(all)*100)))
	}
	switch {
	case b.Percent >= 95:
		b.Level = Error
	case b.Percent >= 80:
		b.Level = Warning
	}
	return b
}

// destLevel returns the level of a destination's state.
func destLevel(d Destination) Level {
	switch d.State {
	case ship.StateOK:
		return OK
	case ship.StateRetrying:
		return Warning
	}
	return Error
}

// empties returns when nothing will be pending any more.
func empties(d Destination) string {
	switch {
	case d.Pending.Records == 0:
		return "empty"
	case d.UntilEmpty == nil && d.State != ship.StateOK:
		return "not now"
	case d.UntilEmpty == nil && d.PendingSegments <= keptUp:
		return "keeping up"
	case d.UntilEmpty == nil:
		return "not shrinking"
	}
	return length(*d.UntilEmpty)
}
