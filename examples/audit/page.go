package main

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/penstock-go/penstock/examples/internal/units"
	"github.com/penstock-go/penstock/ship/audit"
)

var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/style.css
	styleCSS string
	//go:embed page/script.js
	scriptJS string
)

// security lets the page load only its own contents, and fetch only from its own server. No other page may frame it.
var security = "default-src 'none'; script-src '" + hashOf(scriptJS) + "'; style-src '" + hashOf(styleCSS) + "'; img-src data:; connect-src 'self'; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func hashOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return "sha256-" + base64.StdEncoding.EncodeToString(sum[:])
}

// secure sets the headers of an answer.
func secure(w http.ResponseWriter, contentType string) {
	h := w.Header()
	h.Set("Content-Type", contentType)
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", security)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// maxRows bounds the findings and the overdue collectors on the page. The JSON has all.
const maxRows = 100

// page is the data of the template.
type page struct {
	Status      *audit.Status
	Now         time.Time
	Level, Word string
	Attention   []attention
	Classes     []classHours
	Selected    *selected
	Overdue     []audit.Overdue
	MoreOverdue uint64
	Findings    []audit.Finding
	More        uint64
	Clock       []string
	Version     string
	Style       template.CSS
	Script      template.JS
}

// attention is a problem that somebody must look at.
type attention struct{ Level, What, Cure string }

// classHours is the calendar of a class.
type classHours struct {
	Class  string
	Counts []verdictCount
	Days   []day // the newest first
}

type verdictCount struct {
	Verdict audit.Verdict
	N       uint64
}

type day struct {
	Day   time.Time
	Hours [24]cell
}

// cell is an hour of a calendar; an hour without data has no verdict.
type cell struct{ audit.HourReport }

// Open reports whether the hour has details to read.
func (c cell) Open() bool { return c.Verdict == audit.Owed || c.Verdict == audit.Damaged }

// Title describes the hour in words.
func (c cell) Title() string {
	return fmt.Sprintf("%s: %s, %d objects, %d records", c.Hour.Format("2006-01-02 15:00"), c.Verdict, c.Objects, c.Records)
}

// selected is the day or the hour that the user has selected.
type selected struct {
	Class, Title string
	Hours        []audit.HourReport
	Findings     []audit.Finding
	More         uint64
}

var pageTemplate = template.Must(template.New("").Funcs(template.FuncMap{
	"stamp": func(t time.Time) string { return t.Format(time.RFC3339) },
	"hour":  func(t time.Time) string { return t.Format("2006-01-02T15") },
	"ago":   func(now, t time.Time) string { return ago(now.Sub(t)) },
	"count": func(n uint64) string { return units.Grouped(n) },
	"bytes": func(n uint64) string { return units.Size(n) },
}).Parse(pageHTML))

// ago writes a time span in its largest unit.
func ago(d time.Duration) string {
	switch d = max(0, d); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", int(d.Seconds()))
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", int(d.Hours()))
	}
	return fmt.Sprintf("%d days", int(d.Hours()/24))
}

// servePage serves the page. s is nil until the first audit has ended.
func servePage(w http.ResponseWriter, r *http.Request, s *audit.Status, log *slog.Logger) {
	q := r.URL.Query()
	var b bytes.Buffer
	if err := pageTemplate.ExecuteTemplate(&b, "page", newPage(s, q.Get("class"), q.Get("day"), q.Get("hour"), time.Now().UTC())); err != nil {
		log.Error("audit: the page cannot be made; /status.json has the same numbers", "err", err)
		http.Error(w, "the page cannot be made; /status.json has the same numbers", http.StatusInternalServerError)
		return
	}
	secure(w, "text/html; charset=utf-8")
	_, _ = w.Write(b.Bytes()) // the client may have closed the connection
}

func newPage(s *audit.Status, class, day, hour string, now time.Time) *page {
	if s == nil {
		s = new(audit.Status)
	}
	p := &page{Status: s, Now: now, Level: "none", Word: "no audit yet", Version: version(), Style: template.CSS(styleCSS), Script: template.JS(scriptJS)}
	for h := range 24 {
		p.Clock = append(p.Clock, fmt.Sprintf("%02d", h))
	}
	if r := s.Result; r != nil {
		p.Level, p.Word = string(r.Verdict), string(r.Verdict)
		p.Classes = calendars(r.Hours)
		p.Selected = selectHours(r, class, day, hour)
		p.Findings, p.More = some(r.Findings, r.Omitted)
	}
	p.Overdue = s.Overdue[:min(len(s.Overdue), maxRows)]
	p.MoreOverdue = uint64(len(s.Overdue) - len(p.Overdue))
	p.attend()
	return p
}

// attend collects the problems that somebody must look at.
func (p *page) attend() {
	s := p.Status
	if s.Err != "" {
		p.Level, p.Word = "error", "cannot audit"
		p.Attention = append(p.Attention, attention{"error", "The last audit failed: " + s.Err, "What is shown is from the last one that succeeded. After a full audit that failed, that is an increment, which does not look again at what was right before. The auditor tries again by itself; look at the network and at its credentials."})
	}
	if s.Result == nil {
		return
	}
	damaged := 0
	for _, f := range s.Result.Findings {
		if f.Verdict == audit.Damaged {
			damaged++
		}
	}
	if damaged > 0 {
		p.Attention = append(p.Attention, attention{"damaged", fmt.Sprintf("%s of damage.", plural(damaged, "finding")), "Each says what to do: see below."})
	}
	if n := len(s.Overdue); n > 0 {
		p.Attention = append(p.Attention, attention{"owed", fmt.Sprintf("%s overdue.", plural(n, "collector")), "Look for their hosts. If one is gone, attach its volume to another host, which drains it; if the volume is gone too, close the spool with audit close."})
	}
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// some returns the first findings, and how many more there are.
func some(all []audit.Finding, omitted int) (list []audit.Finding, more uint64) {
	list = all[:min(len(all), maxRows)]
	return list, uint64(len(all) - len(list) + omitted)
}

// maxDays bounds a calendar: a folder with a wrong year would make it endless.
const maxDays = 62

// calendars splits hours, which are sorted by class and time, into one calendar for each class.
func calendars(hours []audit.HourReport) (all []classHours) {
	counts := map[audit.Verdict]uint64{}
	for i, h := range hours {
		if n := len(all); n == 0 || all[n-1].Class != h.Class {
			all = append(all, classHours{Class: h.Class})
			clear(counts)
		}
		c := &all[len(all)-1]
		counts[h.Verdict]++
		date := h.Hour.Truncate(24 * time.Hour)
		if n := len(c.Days); n == 0 || !c.Days[n-1].Day.Equal(date) {
			c.Days = append(c.Days, day{Day: date})
		}
		c.Days[len(c.Days)-1].Hours[h.Hour.Hour()] = cell{h}
		if i == len(hours)-1 || hours[i+1].Class != h.Class {
			for _, v := range verdicts {
				if counts[v] > 0 {
					c.Counts = append(c.Counts, verdictCount{v, counts[v]})
				}
			}
			slices.Reverse(c.Days)
			c.Days = c.Days[:min(len(c.Days), maxDays)]
		}
	}
	return all
}

// selectHours returns the hours that were asked for, nil if there are none.
func selectHours(r *audit.Result, class, date, hour string) *selected {
	s := &selected{Class: class, Title: date}
	layout := time.DateOnly
	if hour != "" {
		layout, s.Title = "2006-01-02T15", hour
	}
	for _, h := range r.Hours {
		if h.Class == class && h.Hour.Format(layout) == s.Title {
			s.Hours = append(s.Hours, h)
		}
	}
	if len(s.Hours) == 0 {
		return nil
	}
	var found []audit.Finding
	for _, f := range r.Findings {
		if slices.ContainsFunc(s.Hours, func(h audit.HourReport) bool { return f.Concerns(h.Class, h.Hour) }) {
			found = append(found, f)
		}
	}
	s.Findings, s.More = some(found, 0)
	return s
}
