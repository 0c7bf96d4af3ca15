package main

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
)

// marks writes the markers of hours beside the audits, which wait for none of them. A marker that cannot be written stays due.
type marks struct {
	s  *service
	to ship.Destination

	mu   sync.Mutex
	due  map[string]mark // by class and hour
	more chan struct{}   // there is something new
}

// mark is an hour, and what its marker says of the audit that has found it complete.
type mark struct {
	hour audit.HourReport
	by   *audit.Result
}

func newMarks(s *service, to ship.Destination) *marks {
	return &marks{s: s, to: to, due: map[string]mark{}, more: make(chan struct{}, 1)}
}

// note takes over what the last audit says of an hour.
func (m *marks) note(s *audit.Status, h audit.HourReport, was audit.Verdict) {
	complete := h.Verdict == audit.Complete || h.Verdict == audit.Closed
	if s.Audits-s.Failures <= 1 && was == "" && time.Since(h.Hour) > marked {
		return // an auditor before this one has marked it, or nobody has asked
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := h.Class + " " + h.Hour.Format(time.RFC3339)
	if !complete {
		delete(m.due, id)
		return
	}
	m.due[id] = mark{h, &audit.Result{Time: s.Result.Time, Places: s.Result.Places}} // without its findings: it may stay for long
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// run writes what is due until ctx ends. After a failure it waits for again.
func (m *marks) run(ctx context.Context, again time.Duration) {
	for {
		var retry <-chan time.Time
		for _, id := range m.ids() {
			m.mu.Lock()
			x, ok := m.due[id]
			m.mu.Unlock()
			if !ok {
				continue
			}
			if err := m.s.writeMarker(ctx, m.to, x.by, x.hour); err != nil {
				retry = time.After(again)
				if errors.Is(err, audit.ErrMarkerTaken) {
					continue
				}
				break // the next one would fail too
			}
			m.mu.Lock()
			delete(m.due, id)
			m.mu.Unlock()
		}
		select {
		case <-m.more:
			if retry != nil { // no sooner
				select {
				case <-retry:
				case <-ctx.Done():
				}
			}
		case <-retry:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return
		}
	}
}

// ids returns what is due, in order.
func (m *marks) ids() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.due))
}
