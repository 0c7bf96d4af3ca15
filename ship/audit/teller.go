package audit

import (
	"log/slog"
	"time"
)

// maxTold bounds the lines about findings that one audit adds to the log.
const maxTold = 20

// teller logs what a Watcher finds: each thing once when it appears, and once when it is over.
type teller struct {
	log     *slog.Logger
	damage  map[string]bool
	late    map[Overdue]bool
	failing string
	partial string // why the last full audit beside the increments failed
}

func newTeller(log *slog.Logger) teller {
	return teller{log: log, damage: map[string]bool{}, late: map[Overdue]bool{}}
}

func (t *teller) failed(err error) {
	if text := err.Error(); text != t.failing {
		t.failing = text
		t.log.Error("audit: the audit failed; the last result stays valid, and it is tried again", "err", err)
	}
}

// fullFailed logs why a full audit beside the increments has failed, or that one has succeeded again.
func (t *teller) fullFailed(err error) {
	was := t.partial
	t.partial = ""
	switch {
	case err != nil:
		if t.partial = err.Error(); t.partial != was {
			t.log.Error("audit: a full audit failed; increments go on, which do not look again at what was right before, and it is tried again", "err", err)
		}
	case was != "":
		t.log.Info("audit: full audits succeed again")
	}
}

func (t *teller) full(begin time.Time, took time.Duration) {
	t.log.Info("audit: a full audit is done", "began", begin.UTC(), "took", took.Round(time.Millisecond))
}

// hour logs an hour whose verdict has changed. The first verdict on an hour is logged only if it is Damaged: a new Watcher must not
// log all old hours.
func (t *teller) hour(h HourReport, was Verdict) {
	log := t.log.With("class", h.Class, "hour", h.Hour.Format("2006-01-02T15"), "verdict", h.Verdict)
	switch {
	case h.Verdict == Damaged:
		log.Error("audit: an hour is damaged; the findings say what to do", "was", was)
	case was == "":
	case h.Verdict == Owed && was.rank() < h.Verdict.rank():
		log.Warn("audit: an hour that was complete is owed again: a spool has appeared that may have more records of it", "was", was)
	case h.Verdict == Owed:
		log.Info("audit: an hour is not damaged any more, and still owed", "was", was)
	default:
		log.Info("audit: an hour is complete", "was", was, "objects", h.Objects, "records", h.Records)
	}
}

// findings logs damage that was not there before.
func (t *teller) findings(r *Result) {
	if t.failing != "" {
		t.failing = ""
		t.log.Info("audit: audits succeed again")
	}
	damage, told, more := map[string]bool{}, 0, 0
	for i := range r.Findings {
		f := &r.Findings[i]
		if f.Verdict != Damaged {
			break // damage comes first
		}
		id := f.Code + " " + f.Place + " " + f.Key
		damage[id] = true
		switch {
		case t.damage[id]:
		case told == maxTold:
			more++
		default:
			told++
			t.log.Error("audit: damage", "code", f.Code, "destination", f.Place, "class", f.Class, "spool", f.Spool, "first", f.First, "last", f.Last, "key", f.Key, "detail", f.Detail, "do", f.Cure)
		}
	}
	if more > 0 {
		t.log.Error("audit: more damage was found; the page and the JSON list it", "findings", more)
	}
	if len(damage) == 0 && len(t.damage) > 0 {
		t.log.Info("audit: all damage is gone")
	}
	t.damage = damage
}

// overdue logs collectors that have become overdue, and those that no longer are.
func (t *teller) overdue(all []Overdue) {
	late := map[Overdue]bool{}
	for _, x := range all {
		if late[x] = true; t.late[x] {
			continue
		}
		if x.Name != "" {
			t.log.Warn("audit: an expected instance or spool has never appeared: look for its host and its volume", "name", x.Name)
			continue
		}
		t.log.Warn("audit: a collector is overdue: look for its host; if it is gone, attach its volume to another one, which drains it",
			"destination", x.Place, "class", x.Class, "spool", x.Spool, "instance", x.Instance, "since", x.Since)
	}
	for x := range t.late {
		if !late[x] {
			t.log.Info("audit: a collector is no longer overdue", "name", x.Name, "destination", x.Place, "class", x.Class, "spool", x.Spool, "instance", x.Instance)
		}
	}
	t.late = late
}
