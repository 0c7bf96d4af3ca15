package sim

import (
	"bytes"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// opened compares the state that a process finds, having just opened its spool, with the reports of the previous process.
func (w *world) opened(p *process) {
	l, h := p.sp.Ledger(), p.h
	ends := l.UnaccountedSince(&h.ledger)
	if h.orderly && len(ends) > 0 {
		w.fail("ledger: a sudden end that never was", "host %d stopped in good order, and the next start says %+v", h.n, ends)
	}
	h.orderly, h.ledger = false, *l.Clone()
	if err := l.Balance(); err != nil {
		w.fail("ledger: "+general(err.Error()), "host %d: at the start: %v", h.n, err)
	}
	var gone segment.Tally // in the memory of the last process, or by a power cut
	st := p.sp.Stats()
	w.journal.each(func(r *record) {
		if r.unfound || r.volume != h.n || r.spool != st.Spool || r.life == p.n || r.seq <= st.Appended {
			return
		}
		if r.unfound = true; r.state != sent && r.excused != replacedVolume {
			gone.Add(segment.Tally{Records: 1, Bytes: uint64(r.size)})
		}
	})
	if !w.damaged {
		w.checkBound(p, gone, ends)
	}
}

// checkBound: a kill or power cut loses no more records than the next start reports as the bound.
func (w *world) checkBound(p *process, gone segment.Tally, ends []segment.Unaccounted) {
	const leastRecord = 12 // the least bytes that a record uses in the log
	var most segment.Tally
	for _, u := range ends {
		most.Add(segment.Tally{Records: u.Known.Records + u.AtMostBytes/leastRecord, Bytes: u.Known.Bytes + u.AtMostBytes})
	}
	if gone.Records > most.Records || gone.Bytes > most.Bytes {
		w.fail("ledger: unaccounted is too small", "host %d: %+v are gone, and at most %+v are said: %+v", p.h.n, gone, most, ends)
	}
}

// checkReady: a class that cannot deliver because another owner has its chain is not ready.
func (w *world) checkReady(p *process) {
	_, sh, d := p.running()
	if sh == nil || p.dead.Load() {
		return
	}
	for name, s := range sh.Stats() {
		if s.State == ship.StateFenced && d.Ready("") == nil {
			w.fail("ready while fenced", "host %d at %s: %v", p.h.n, name, s.Err)
			return
		}
	}
}

// collect checks a process that has ended.
func (w *world) collect(p *process) {
	select {
	case <-p.done:
	default:
		return
	}
	h := p.h
	if p.collected {
		return
	}
	p.collected, h.proc, h.orderly = true, nil, false
	if p.dead.Load() || p.sp == nil || p.report == nil {
		return
	}
	p.sample()
	w.checkReport(p, p.report)
	h.orderly = !w.damaged && p.closed == nil
	if p.fleet == nil {
		return
	}
	switch answer, _ := p.fleet.Answered(); {
	case answer == asg.Continue && p.report.Outcome != drain.Delivered:
		w.fail("group: CONTINUE after a drain that was not complete", "%s", p.report.JSON())
	case answer == asg.Continue: // the platform takes the disk
		h.mu.Lock()
		h.mem = nil
		h.mu.Unlock()
	case answer == asg.Abandon:
		h.gone, h.adopters = true, 1
	}
}

// checkReport compares the final report of a process with the facts.
func (w *world) checkReport(p *process, r *drain.Report) {
	c := r.Classes["c"]
	if r.Outcome == drain.Delivered || r.Outcome == drain.Stopped {
		l := p.sp.Ledger()
		if b := l.Buffered(); b.Records > 0 || c.Buffered.Records > 0 {
			w.fail("report: "+string(r.Outcome)+" with records neither kept nor lost",
				"host %d: %d records, %d in the report: %s", p.h.n, b.Records, c.Buffered.Records, r.JSON())
		}
		if c.Err != "" {
			w.fail("report: "+string(r.Outcome)+" with an error: "+general(c.Err), "host %d: %s", p.h.n, r.JSON())
		}
		if err := l.Balance(); err != nil {
			w.fail("ledger: "+general(err.Error()), "host %d: at the end: %v", p.h.n, err)
		}
		if p.tcp != nil {
			if n := p.tcp.Stats().InHand.Records; n > 0 {
				w.fail("report: "+string(r.Outcome)+" with records in hand", "host %d: %d records", p.h.n, n)
			}
		}
	}
	if r.Outcome != drain.Delivered {
		return
	}
	if c.Damaged.Records > 0 && r.Intent == drain.Drain {
		w.fail("report: complete with damage", "%d damaged: %s", c.Damaged.Records, r.JSON())
	}
	for name, pl := range w.places {
		w.complete(p, name, w.contents(pl))
	}
}

// checkNeed: damage that loses no record does not keep a drain from being complete. An older spool.json is an exception if it does
// not know under which id a chain goes on, and the state of that chain is damaged too: then nothing here says where the records are
// that this spool has delivered under the later id. A disk that refused a call when the drain sealed is another.
func (w *world) checkNeed(p *process, stuck bool) {
	r := p.report
	if r == nil || !w.damaged || stuck || p.dead.Load() || r.Outcome == drain.Delivered || w.copied && p.h.misled {
		return
	}
	if slices.ContainsFunc(r.Phases, func(x drain.Phase) bool { return strings.Contains(x.Err, spool.ErrFailing.Error()) }) {
		return
	}
	if c := r.Classes["c"]; c.Damaged.Records == 0 && len(c.Damages) == 0 {
		w.fail("drain: "+string(r.Outcome)+" after damage that took nothing"+w.after(), "%s", r.JSON())
	}
}

// complete: if a process reports complete, everything is at every destination.
func (w *world) complete(p *process, name string, c *contents) {
	w.journal.each(func(r *record) {
		if r.volume != p.h.n || r.state != kept || r.excused != "" || r.optional[name] || c.count[r.id] > 0 || c.named(r) {
			return
		}
		if w.damaged && (r.silent() || !p.sure(r)) {
			return // the second is reported at the end, if the destination stays unreachable
		}
		w.fail("report: complete without a record"+w.after(), "host %d: record %d (%d of %s) is not at %s", p.h.n, r.id, r.seq, r.spool, name)
	})
}

// sure reports whether the process's spool certainly had the record at some time.
func (p *process) sure(r *record) bool { return r.spool == p.sp.Stats().Spool }

// after returns the circumstances that make a failure a different one.
func (w *world) after() string {
	switch {
	case w.damaged:
		return " after damage"
	case w.restored:
		return " after a restore"
	case w.copied:
		return " after a copy"
	}
	return ""
}

// checkContents: every kept record is at every destination once, or reported as damaged, and nothing else is there. If damage
// has hit every witness of a record, it may be missing without a report: see witnesses.
func (w *world) checkContents() {
	for _, name := range []string{"a", "b", "c"} {
		c := w.contents(w.places[name])
		if c.twice() {
			c = w.contents(w.places[name], w.superseded(w.places[name])...)
		}
		for _, alien := range c.alien {
			w.fail("alien"+w.after(), "%s: %s", name, alien)
		}
		if len(c.gaps) > 0 && !w.damaged {
			w.fail("damage is named where there was none", "%s: %v", name, c.gaps)
		}
		// A segment that was uploaded, and damaged before its chain named it, is complete in an object that no chain names.
		named := c
		if len(c.gaps) > 0 {
			named = w.contents(w.places[name], w.superseded(w.places[name])...)
		}
		lost, doubled := 0, 0
		w.journal.each(func(r *record) {
			n := c.count[r.id]
			switch {
			case n > 1:
				if doubled++; doubled == 1 {
					w.fail("doubled"+w.after(), "%s: record %d (%d of %s, volume %d) is there %d times", name, r.id, r.seq, r.spool, r.volume, n)
				}
			case n == 1 && w.damaged && !w.copied && !w.restored && !r.unfound && c.namedBy(r) && named.count[r.id] > 0:
				w.fail("named as damaged and there", "%s: record %d (%d of %s, volume %d, life %d)", name, r.id, r.seq, r.spool, r.volume, r.life)
			case n == 1, r.state != kept, r.excused != "", r.optional[name], w.damaged && (c.named(r) || r.silent()), w.stuck[r.volume]:
			default:
				if lost++; lost == 1 {
					w.fail("lost"+w.after(), "%s: record %d (%d of %s, volume %d, life %d) is neither there nor named", name, r.id, r.seq, r.spool, r.volume, r.life)
				}
			}
		})
	}
}

// checkAudit: the auditor sees only the destinations to which every process delivers, and its findings are true.
func (w *world) checkAudit(stuck bool) {
	a, b := w.contents(w.places["a"]), w.contents(w.places["b"])
	if a.chains+b.chains == 0 {
		return
	}
	for _, deep := range []bool{false, true} {
		r, err := audit.Run(w.t.Context(), &audit.Options{Deep: deep, Places: []audit.Place{
			{Name: "a", Destination: w.places["a"].mem}, {Name: "b", Destination: w.places["b"].mem},
		}})
		if err != nil {
			w.fail("audit: error", "%v", err)
			return
		}
		var text bytes.Buffer
		_ = r.WriteText(&text)
		damage := len(a.gaps)+len(b.gaps) > 0
		switch {
		case r.Verdict == audit.Complete && damage:
			w.fail("audit: complete with damage", "%s", &text)
		case r.Verdict == audit.Complete && stuck:
			w.fail("audit: complete while records are owed"+w.after(), "%s", &text)
		case r.Verdict == audit.Damaged && !w.damaged && !w.explains(r):
			w.fail("audit: damaged without damage"+w.after()+": "+codes(r), "%s", &text)
		case r.Verdict == audit.Owed && !stuck && !w.damaged && !w.restored:
			// Nobody can know what else was on a volume that was replaced by an older one: its chain stays open.
			w.fail("audit: owed though all is delivered"+w.after()+": "+codes(r), "%s", &text)
		}
	}
}

// explains reports whether the world knows the reason of all damage that the auditor has found where no file was damaged:
//
//   - A volume was restored between the upload of an object and the manifest with its line. No chain names the object, and it may be
//     the only copy of the records that the restore has taken back.
//   - An object was moved away while the owner of a copy compared another owner's line of it with its own records. It then delivers
//     these records under an id of its own, and so two chains state them.
func (w *world) explains(r *audit.Result) bool {
	return !slices.ContainsFunc(r.Findings, func(f audit.Finding) bool {
		switch {
		case f.Verdict != audit.Damaged,
			f.Code == audit.ObjectUnknown && w.takenBack(w.places[f.Place], f.Key),
			f.Code == audit.RecordsDoubled && w.copied && w.movedAway:
			return false
		}
		return true
	})
}

// codes returns the kinds of findings.
func codes(r *audit.Result) (s string) {
	var all []string
	for _, f := range r.Findings {
		all = append(all, f.Code)
	}
	slices.Sort(all)
	for _, c := range slices.Compact(all) {
		s += c + " "
	}
	return s
}
