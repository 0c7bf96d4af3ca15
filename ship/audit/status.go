package audit

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/scrub"
)

// Status is what a Watcher knows.
type Status struct {
	// Result of the last audit that succeeded, nil if none has. It must not be changed.
	Result *Result `json:"result"`
	// Overdue lists the collectors that have been silent for too long.
	Overdue []Overdue `json:"overdue"`
	// Places in the order of WatchOptions.Places.
	Places []PlaceStatus `json:"places"`
	// Attempt is when the last audit began, successful or not, Seconds how long it took, and Err why it failed, if it did.
	Attempt time.Time `json:"attempt"`
	Seconds float64   `json:"seconds"`
	Err     string    `json:"error,omitempty"`
	// Audits counts all of these audits, Failures those that failed.
	Audits   uint64 `json:"audits"`
	Failures uint64 `json:"failures"`
	// Full is when the last full audit that succeeded began, FullSeconds how long it took.
	Full        time.Time `json:"full,omitzero"`
	FullSeconds float64   `json:"full_seconds,omitempty"`
}

// PlaceStatus says how one place answered the requests of the last audit.
type PlaceStatus struct {
	Place string `json:"place"`
	// LastSuccess is when the last audit began in which the place answered every request.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Requests of the last audit.
	Requests uint64 `json:"requests"`
	// Err is what failed there in the last audit.
	Err string `json:"error,omitempty"`
}

// Overdue is a collector that was silent for too long (WatchOptions.Overdue), or has never appeared.
type Overdue struct {
	// Name is a name of Options.Expect that has not appeared anywhere. If it is empty, the other fields name the chain.
	Name     string `json:"name,omitempty"`
	Place    string `json:"place,omitempty"`
	Class    string `json:"class,omitempty"`
	Spool    string `json:"spool,omitempty"`
	Instance string `json:"instance,omitempty"`
	// Since is when its last manifest was written.
	Since time.Time `json:"since,omitzero"`
}

// maxShown bounds the text of an error that is shown.
const maxShown = 1000

// errText returns the scrubbed text of an error: those who see a Status or a Result may have no access to the places or to this
// process's log.
func errText(err error) string { return scrub.Text(err.Error(), maxShown) }

// note records the outcome of an audit. A place that failed, or whose audit was interrupted, keeps its previous LastSuccess.
func (s *Status) note(begin time.Time, took time.Duration, places []PlaceStatus, err error) {
	s.Attempt, s.Seconds, s.Err = begin.UTC(), took.Seconds(), ""
	if s.Audits++; err != nil {
		s.Failures++
		s.Err = errText(err)
	}
	if places == nil {
		return
	}
	for i := range places {
		p := &places[i]
		if err == nil {
			p.LastSuccess, p.Err = begin.UTC(), "" // what could not be read is a finding
		}
		if j := slices.IndexFunc(s.Places, func(o PlaceStatus) bool { return o.Place == p.Place }); j >= 0 && p.LastSuccess.IsZero() {
			p.LastSuccess = s.Places[j].LastSuccess
		}
	}
	s.Places = places
}

// overdue returns the collectors that are overdue; first those that are expected and have never appeared.
func overdue(r *Result, most time.Duration, now time.Time) (all []Overdue) {
	all = []Overdue{}
	for _, name := range r.NotAppeared {
		all = append(all, Overdue{Name: name})
	}
	for i := range r.Chains {
		if c := &r.Chains[i]; !c.Final && c.Closed == nil && !c.Time.IsZero() && now.Sub(c.Time) > most {
			all = append(all, Overdue{Place: c.Place, Class: c.Class, Spool: c.Spool, Instance: c.Instance, Since: c.Time})
		}
	}
	slices.SortStableFunc(all, func(a, b Overdue) int {
		return cmp.Or(a.Since.Compare(b.Since), strings.Compare(a.Name, b.Name))
	})
	return all
}
