package spool

import (
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/penstock-go/penstock/internal/units"
	"github.com/penstock-go/penstock/spool/segment"
)

const (
	// fullEvery is how often the log repeats that the spool is full.
	fullEvery = time.Minute
	// fullCalm is how long the spool must have had room before that is over. A spool at its limit has room for a moment
	// each time a segment is deleted.
	fullCalm = 10 * time.Second
)

// fullness remembers how long the spool has been full, so that the log says it when that begins, each minute with what it
// has cost so far, and when it is over. Spool.mu guards it.
type fullness struct {
	since time.Time // zero while there is room
	met   bool      // an append has found no room since the last look
	last  time.Time // when it was full for the last time
	told  time.Time
	lost  segment.Loss // for want of room, before it began
}

// look takes what is so at a time, and reports whether that is to be told.
func (f *fullness) look(now time.Time, full bool, lost segment.Loss) (tell, over bool) {
	switch {
	case full && f.since.IsZero():
		*f = fullness{since: now, last: now, told: now, lost: lost}
		return true, false
	case f.since.IsZero():
		return false, false
	case full:
		f.last = now
	case now.Sub(f.last) >= fullCalm:
		return true, true
	}
	if tell = now.Sub(f.told) >= fullEvery; tell {
		f.told = now
	}
	return tell, false
}

// watchFull says in the log whether the spool is full. The keeper calls it each second.
func (s *Spool) watchFull() {
	s.mu.Lock()
	f := &s.fullness
	lost := s.ledger.Lost[segment.SpoolFull]
	tell, over := f.look(time.Now(), f.met || s.full || !s.hasRoom(0), lost)
	f.met = false
	if !tell {
		s.mu.Unlock()
		return
	}
	attrs := []any{
		"class", s.opts.Class, "for", f.last.Sub(f.since).Round(time.Second),
		"used", units.Size(s.quota.used), "reserve", units.Size(s.quota.reserve), "quota", units.Size(s.quota.limit), "lost", lost.Records - f.lost.Records,
	}
	if over {
		*f = fullness{}
		s.mu.Unlock()
		s.log.Info("spool: there is room again", attrs...)
		return
	}
	attrs = append(attrs, "waiting", len(s.room.parked), s.owedEach())
	does := "appends wait: TCP and RELP senders are held up, UDP datagrams are lost. "
	if s.opts.OnFull == Reject {
		does = "records are rejected, and lost. "
	}
	cure := "Restore the destination that is owed most, or raise the quota"
	if s.noSpace || s.diskShort() {
		cure = "The disk is full: delete other files on it"
		attrs = append(attrs, "disk_free", units.Size(s.quota.disk.free))
	}
	s.mu.Unlock()
	s.log.Error("spool: FULL: "+does+cure, attrs...)
}

// owedEach says what each destination is owed, as a group of log attributes. s.mu is held.
func (s *Spool) owedEach() slog.Attr {
	var list []any
	for _, name := range slices.Sorted(maps.Keys(s.dests)) {
		if d := s.dests[name]; !d.forgotten {
			t := s.owed(d)
			list = append(list, slog.String(name, units.Records(t.Records, t.Bytes)))
		}
	}
	return slog.Group("owed", list...)
}
