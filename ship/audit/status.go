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
	// Attempt is when the last audit began, successful or not, Seconds how long it took, and Err why it failed, if it did. If the last
	// full audit beside the increments failed, Err says so until one succeeds: increments do not look again at what was right before.
	Attempt time.Time `json:"attempt"`
	Seconds float64   `json:"seconds"`
	Err     string    `json:"error,omitempty"`
	// Audits counts all audits, but not the full ones beside increments that succeeded. Failures counts those that failed.
	Audits   uint64 `json:"audits"`
	Failures uint64 `json:"failures"`
	// Full is when the last full audit that succeeded began, FullSeconds how long it took.
	Full        time.Time `json:"full,omitzero"`
	FullSeconds float64   `json:"full_seconds,omitempty"`

	failing *fullAudit // the last one beside the increments, if it failed
}

// PlaceStatus says how one place answered the requests of the last audit.
type PlaceStatus struct {
	Place string `json:"place"`
	// LastSuccess is when the last audit began in which the place answered every request. It stays while full audits fail there.
	LastSuccess time.Time `json:"last_success,omitzero"`
	// Requests of the last audit.
	Requests uint64 `json:"requests"`
	// Err is what failed there in the last audit, or in the last full one.
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
	} else if s.failing != nil {
		s.Err = s.failing.text()
	}
	if places == nil {
		return
	}
	for i := range places {
		p := &places[i]
		if err == nil {
			p.LastSuccess, p.Err = begin.UTC(), "" // what could not be read is a finding
		}
		if f := s.failing; p.Err == "" && f.failedAt(p.Place) {
			p.LastSuccess, p.Err = time.Time{}, f.text()
		}
		if j := slices.IndexFunc(s.Places, func(o PlaceStatus) bool { return o.Place == p.Place }); j >= 0 && p.LastSuccess.IsZero() {
			p.LastSuccess = s.Places[j].LastSuccess
		}
	}
	s.Places = places
}

// noteFull records that a full audit beside the increments has failed.
func (s *Status) noteFull(f *fullAudit) {
	s.Audits++
	s.Failures++
	s.failing, s.Err = f, f.text()
	s.Places = slices.Clone(s.Places) // a Status that was returned does not change
	for i := range s.Places {
		if p := &s.Places[i]; p.Err == "" && f.failedAt(p.Place) {
			p.Err = f.text()
		}
	}
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
