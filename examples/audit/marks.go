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

// marks writes the markers of hours in parallel with the audits, which never wait for it. If a write fails, the marker stays
// due.
type marks struct {
	s  *service
	to ship.Destination

	mu   sync.Mutex
	due  map[string]mark // by class and hour
	more chan struct{}   // signals that due has a new entry
}

// mark is a complete hour, and the result of the audit that found it complete.
type mark struct {
	hour audit.HourReport
	by   *audit.Result
}

func newMarks(s *service, to ship.Destination) *marks {
	return &marks{s: s, to: to, due: map[string]mark{}, more: make(chan struct{}, 1)}
}

// note updates due after an audit with the verdict on one hour.
func (m *marks) note(s *audit.Status, h audit.HourReport, was audit.Verdict) {
	complete := h.Verdict == audit.Complete || h.Verdict == audit.Closed
	if s.Audits-s.Failures <= 1 && was == "" && time.Since(h.Hour) > marked {
		return // an earlier auditor has marked it, or markers were not requested then
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	id := h.Class + " " + h.Hour.Format(time.RFC3339)
	if !complete {
		delete(m.due, id)
		return
	}
	m.due[id] = mark{h, &audit.Result{Time: s.Result.Time, Places: s.Result.Places}} // without its findings: it may be kept for long
	select {
	case m.more <- struct{}{}:
	default:
	}
}

// run writes the markers that are due until ctx ends. After a failure it waits for the duration again.
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
				break // the next write would fail too
			}
			m.mu.Lock()
			delete(m.due, id)
			m.mu.Unlock()
		}
		select {
		case <-m.more:
			if retry != nil { // do not retry before that time
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

// ids returns the keys of due, sorted.
func (m *marks) ids() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.due))
}
