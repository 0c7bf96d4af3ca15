package audit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool/object"
)

// skew is how far the clock of this host may be ahead of a sender's: an hour that has just ended by this clock alone may still
// be going on at the senders.
const skew = 5 * time.Minute

// calendar is for how many past hours a Result also reports those without an object, because an idle hour must become complete too.
const calendar = 35 * 24

// HourReport is the judgement on one hour of a class, the same as that of an audit with Options.Hour and Options.Class. The hour of an
// object is that of its folder, in which its segment began: see object.HourPrefix.
type HourReport struct {
	Class   string    `json:"class"`
	Hour    time.Time `json:"hour"`
	Verdict Verdict   `json:"verdict"`
	Tally
}

// Tally counts what chains name.
type Tally struct {
	Objects uint64 `json:"objects"`
	Records uint64 `json:"records"`
	Bytes   uint64 `json:"bytes"` // of payload
}

// beginOf returns when an hour begins, the zero time for hour 0, which means none.
func beginOf(hour int32) time.Time {
	if hour == 0 {
		return time.Time{}
	}
	return time.Unix(int64(hour)*3600, 0).UTC()
}

// span is the hours whose records a finding may concern.
type span struct {
	class    string // "" for all
	from, to int32  // inclusive, 0 for no bound
}

func (s span) has(hour int32) bool {
	return (s.from == 0 || hour >= s.from) && (s.to == 0 || hour <= s.to)
}

// span returns which hours a finding concerns. ok: any at all.
func (f *Finding) span() (s span, ok bool) {
	s = span{class: f.Class}
	if !f.HourFrom.IsZero() {
		s.from = object.HourOf(f.HourFrom)
	}
	if !f.HourTo.IsZero() {
		s.to = object.HourOf(f.HourTo)
	}
	if s.class == "" && f.Key != "" {
		// A name that is not a valid key may still be below the folder of a class, or of one of its hours.
		part := strings.Split(f.Key, "/")
		if class, isData := strings.CutPrefix(part[0], object.DataPrefix); isData {
			s.class = class
			s.from = folderHour(part)
			s.to = s.from
			return s, s.from != 0
		}
		if len(part) > 2 {
			s.class = part[1]
		}
	}
	return s, true
}

// Concerns reports whether the finding may concern an hour of a class.
func (f *Finding) Concerns(class string, hour time.Time) bool {
	s, ok := f.span()
	return ok && (s.class == "" || s.class == class) && s.has(object.HourOf(hour))
}

// folderHour returns the hour of the folder that the parts of a key begin with, 0 if they name none.
func folderHour(part []string) int32 {
	if len(part) < 4 {
		return 0
	}
	date, isDate := strings.CutPrefix(part[1], "dt=")
	hour, isHour := strings.CutPrefix(part[2], "hour=")
	t, err := time.Parse(time.DateOnly+" 15", date+" "+hour)
	if !isDate || !isHour || err != nil {
		return 0
	}
	return object.HourOf(t)
}

// inHours bounds the hours that a finding concerns. It swaps bounds in the wrong order: a clock that was set back must not empty the
// range.
func (f Finding) inHours(from, to int32) Finding {
	if to != 0 && from > to {
		from, to = to, from
	}
	f.HourFrom, f.HourTo = beginOf(from), beginOf(to)
	return f
}

// boundHours bounds a finding about an object by the hour in the object's name.
func (f *Finding) boundHours() {
	if k, ok := object.ParseKey(f.Key); ok && f.HourFrom.IsZero() && f.HourTo.IsZero() {
		*f = f.inHours(k.Hour, k.Hour)
	}
}

// tally counts an object in its hour.
func (w *walk) tally(hour int32, records, bytes uint64) {
	if w.hours == nil {
		w.hours = map[int32]*Tally{}
	}
	t := w.hours[hour]
	if t == nil {
		t = new(Tally)
		w.hours[hour] = t
	}
	t.Objects, t.Records, t.Bytes = t.Objects+1, t.Records+records, t.Bytes+bytes
	if w.began == 0 || hour < w.began {
		w.began = hour
	}
}

// uncount takes the object of a line out of its hour again: another chain of the place has been counted with it.
func (w *walk) uncount(s *ship.SegmentLine) {
	k, _ := object.ParseKey(s.Key)
	if t := w.hours[k.Hour]; t != nil {
		t.Objects, t.Records, t.Bytes = t.Objects-1, t.Records-s.Records, t.Bytes-s.Bytes
	}
}

// evidence is what the senders' clocks say about the end of hours.
type evidence struct {
	reached *walk // whose chain has reached the latest hour
	heard   *walk // whose last manifest is the latest
}

// evidenceOf returns the evidence in some chains, by place.
func evidenceOf(walks [][]*walk) (e evidence) {
	better := func(w, old *walk, by int) bool {
		return old == nil || cmp.Or(by, strings.Compare(old.p.name+old.Spool, w.p.name+w.Spool)) > 0
	}
	for _, at := range walks {
		for _, w := range at {
			if e.reached == nil || better(w, e.reached, cmp.Compare(w.reached, e.reached.reached)) {
				e.reached = w
			}
			if e.heard == nil || better(w, e.heard, w.Time.Compare(e.heard.Time)) {
				e.heard = w
			}
		}
	}
	return e
}

// allWalks returns all chains, by place.
func (a *auditor) allWalks() [][]*walk {
	all := make([][]*walk, len(a.places))
	for i, p := range a.places {
		all[i] = slices.Collect(maps.Values(p.walks))
	}
	return all
}

// walksByClass returns the chains of each class, by place.
func (a *auditor) walksByClass() map[string][][]*walk {
	all := map[string][][]*walk{}
	for i, p := range a.places {
		for id, w := range p.walks {
			if all[id.Class] == nil {
				all[id.Class] = make([][]*walk, len(a.places))
			}
			all[id.Class][i] = append(all[id.Class][i], w)
		}
	}
	return all
}

// hasSeenEnd returns a sender that has seen the end of an hour, nil if there is none.
func (e evidence) hasSeenEnd(hour int32) *walk {
	switch {
	case e.reached != nil && e.reached.reached > hour:
		return e.reached
	case e.heard != nil && !e.heard.Time.Before(beginOf(hour+1)):
		return e.heard
	}
	return nil
}

// hourOpen judges whether an hour is over. Before its end, a new spool may begin in it, and a spool with a final chain may be opened
// again, so the statements of the chains that are here are not enough. The hour must have ended by this host's clock, and also by the
// clock of a sender unless skew has passed since. Both clocks can be wrong, and if an hour is called complete too early, a batch job
// misses the rest of its records.
func hourOpen(hour int32, now time.Time, e evidence) (f Finding, open bool) {
	end, sender := beginOf(hour+1), e.hasSeenEnd(hour)
	f = Finding{Code: HourOpen}.inHours(hour, hour)
	f.Detail = fmt.Sprintf("hour %s ends at %s, and the clock of this host says %s", beginOf(hour).Format("2006-01-02T15"), end.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	switch {
	case now.Before(end) && sender != nil:
		f.Place, f.Class, f.Spool = sender.p.name, sender.Class, sender.Spool
		f.Detail += fmt.Sprintf("; its collector, %s, says that it is over: one of the two clocks is wrong", sender.Instance)
	case now.Before(end):
	case sender == nil && now.Before(end.Add(skew)):
		f.Detail += fmt.Sprintf("; no manifest was written since, so a collector's clock may be slow: it counts as over at %s", end.Add(skew).Format(time.RFC3339))
	default:
		return f, false
	}
	return f, true
}

// checkHour reports the hour of Options.Hour if it is not over.
func (a *auditor) checkHour(now time.Time) {
	if a.o.Hour.IsZero() {
		return
	}
	f, open := hourOpen(object.HourOf(a.o.Hour), now, evidenceOf(a.allWalks()))
	if !open {
		return
	}
	a.rec.add(f)
	for _, p := range a.places {
		for id := range p.walks {
			a.rec.atLeast(chainID{p.name, id}, Owed, span{})
		}
	}
}

// maxClasses is how many classes a place may have that no other place has, and have each of their hours judged. A class has some 840 idle
// hours, and somebody who can write here can make as many classes as they like.
const maxClasses = 256

// boundClasses finds the classes whose idle hours are judged: those with a manifest that can be read. If a place has more than
// Options.maxClasses that no other place has, all hours of the others, in the order of their names, are owed.
func (a *auditor) boundClasses() {
	places := map[string]int{}
	for _, p := range a.places {
		p.classes = map[string]bool{}
		for id, w := range p.walks {
			if w.Manifests > 0 && !p.classes[id.Class] {
				p.classes[id.Class] = true
				places[id.Class]++
			}
		}
	}
	for _, p := range a.places {
		var own []string
		for class := range p.classes {
			if places[class] == 1 {
				own = append(own, class)
			}
		}
		if len(own) <= a.o.maxClasses {
			continue
		}
		slices.Sort(own)
		beyond := own[a.o.maxClasses:]
		for _, class := range beyond {
			delete(p.classes, class)
			a.crowded[class] = true
		}
		for id := range p.walks {
			if a.crowded[id.Class] {
				a.rec.atLeast(chainID{p.name, id}, Owed, span{class: id.Class})
			}
		}
		a.rec.add(Finding{
			Code: Crowded, Place: p.name, Class: beyond[0],
			Detail: fmt.Sprintf("%d classes are here and at no other place; all hours of the last %d of them in the order of their names, from %s on, are owed, and their idle hours are neither listed nor reported", len(own), len(beyond), beyond[0]),
		})
	}
}

// judgeHours judges every hour of every class that has objects or findings. From the first hour with objects on, but at most calendar
// hours back, it also judges the others.
func (a *auditor) judgeHours(now time.Time) []HourReport {
	all := []HourReport{}
	byClass, spans := a.walksByClass(), a.rec.spansByClass()
	for _, class := range a.classes() {
		walks := byClass[class]
		tallies, judged := tallies(walks), newHourSpans(spans[""], spans[class])
		hours := map[int32]bool{}
		first := object.HourOf(now)
		for h := range tallies {
			hours[h] = true
			first = min(first, h)
		}
		for h := range judged.single {
			hours[h] = true
		}
		if a.crowded[class] {
			first = object.HourOf(now)
		}
		for h := max(first, object.HourOf(now)-calendar); h <= object.HourOf(now); h++ {
			hours[h] = true
		}
		if !a.o.Hour.IsZero() {
			hours = map[int32]bool{object.HourOf(a.o.Hour): true}
		}
		e := evidenceOf(walks)
		for _, h := range slices.Sorted(maps.Keys(hours)) {
			r := HourReport{Class: class, Hour: beginOf(h), Verdict: judged.worst(h), Tally: tallies[h]}
			if _, open := hourOpen(h, now, e); open {
				r.Verdict = r.Verdict.worse(Owed)
			}
			all = append(all, r)
		}
	}
	return all
}

// hourSpans is the verdicts on the hours of a class: on single ones, and on longer spans.
type hourSpans struct {
	single map[int32]Verdict
	long   map[span]Verdict
}

func newHourSpans(all ...map[span]Verdict) hourSpans {
	x := hourSpans{map[int32]Verdict{}, map[span]Verdict{}}
	for _, spans := range all {
		for s, v := range spans {
			if s.from != 0 && s.from == s.to {
				x.single[s.from] = cmp.Or(x.single[s.from], Complete).worse(v)
			} else {
				x.long[s] = v
			}
		}
	}
	return x
}

func (x hourSpans) worst(hour int32) Verdict {
	v := cmp.Or(x.single[hour], Complete)
	for s, o := range x.long {
		if s.has(hour) {
			v = v.worse(o)
		}
	}
	return v
}

// classes returns the classes that have chains, sorted.
func (a *auditor) classes() (all []string) {
	for _, id := range a.spools {
		if n := len(all); n == 0 || all[n-1] != id.Class {
			all = append(all, id.Class)
		}
	}
	return all
}

// tallies returns, for each hour of a class, the counts of the place whose chains name the most.
func tallies(walks [][]*walk) map[int32]Tally {
	most := map[int32]Tally{}
	for _, at := range walks {
		sum := map[int32]Tally{}
		for _, w := range at {
			for h, t := range w.hours {
				s := sum[h]
				sum[h] = Tally{s.Objects + t.Objects, s.Records + t.Records, s.Bytes + t.Bytes}
			}
		}
		for h, t := range sum {
			if m, ok := most[h]; !ok || t.Records > m.Records {
				most[h] = t
			}
		}
	}
	return most
}
