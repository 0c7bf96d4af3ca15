package sim

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// bound is how long delivery may take once every fault is over. It is several times the sum of back-off, probes, an adopter's
// patience and the time to the next attempt at an adoption.
const bound = 3 * time.Hour

// settle ends all faults, assigns every volume to a host, and requires that everything is delivered, every source is served,
// and every spool is drained.
func (w *world) settle() {
	for _, p := range w.places {
		p.heal()
	}
	for _, h := range w.hosts {
		h.heal()
		h.trap = trap{}
		if p := h.proc; p != nil {
			p.mu.Lock()
			p.trap = trap{}
			p.mu.Unlock()
		}
	}
	stuck := w.await(w.delivered)
	for _, why := range stuck {
		var h int
		_, _ = fmt.Sscanf(why, "host %d", &h)
		w.stuck[h] = true
		w.fail("stuck: "+general(why), "%v after the last fault: %s", bound, why)
	}
	w.probe()
	w.drainAll(len(stuck) > 0)
	w.checkContents()
	w.checkAudit(len(stuck) > 0)
}

// await checks again and again, at first often, and returns what still prevents the end when bound has passed.
func (w *world) await(waiting func() []string) (left []string) {
	wait := time.Second
	for began := time.Now(); time.Since(began) < bound; wait = min(wait*3/2, 2*time.Minute) {
		pause(wait)
		w.look()
		w.staff()
		if left = waiting(); len(left) == 0 {
			return nil
		}
	}
	return left
}

// staff makes sure that a process or an adopter works on every volume.
func (w *world) staff() {
	for _, h := range w.hosts {
		switch {
		case h.mem == nil:
		case h.gone && len(h.jobs) == 0:
			w.adopt(h, max(1, h.adopters))
		case !h.gone && h.proc == nil:
			w.start(h, h.opts)
		}
	}
}

// delivered returns what is not delivered yet.
func (w *world) delivered() (left []string) {
	for _, h := range w.hosts {
		switch {
		case h.mem == nil:
		case h.gone:
			if !h.adopted() {
				left = append(left, fmt.Sprintf("host %d: adoption: %v", h.n, h.adoptionErr()))
			}
		case h.proc != nil:
			left = append(left, h.proc.owed()...)
		}
	}
	return left
}

// adopted reports whether an adoption has ended with everything delivered.
func (h *host) adopted() bool {
	return slices.ContainsFunc(h.jobs, func(a *adoption) bool {
		if r := a.last.Load(); r != nil && (r.Outcome == drain.Delivered || h.w.damaged && nothingPending(r)) {
			return true // with damage it continues until the operator gives the records up
		}
		select {
		case <-a.done:
			return errors.Is(a.err, spool.ErrAdopted) || h.blank()
		default:
			return false
		}
	})
}

func nothingPending(r *drain.Report) bool {
	for _, c := range r.Classes {
		for _, d := range c.Destinations {
			if d.Pending.Records > 0 {
				return false
			}
		}
	}
	return len(r.Classes) > 0
}

// blank reports whether the volume never had a spool, or only the beginning of one.
func (h *host) blank() bool {
	return len(files(h.mem, "/spool")) == 0
}

func (h *host) adoptionErr() string {
	var all []string
	for _, a := range h.jobs {
		if r := a.last.Load(); r != nil {
			for _, c := range r.Classes {
				for name, d := range c.Destinations {
					all = append(all, fmt.Sprintf("%s %s %s %s", r.Outcome, name, d.State, d.Err))
				}
				all = append(all, c.Err)
			}
		}
		if err := a.refused.Load(); err != nil {
			all = append(all, (*err).Error())
		}
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), "; ")
}

// owed returns which records of a process are still pending, and why.
func (p *process) owed() (left []string) {
	p.mu.Lock()
	refused, ending := p.refused, p.stopped
	p.mu.Unlock()
	if ending { // with its knowledge from the time of the faults; another drain follows
		return []string{fmt.Sprintf("host %d: a process does not end", p.h.n)}
	}
	sp, sh, _ := p.running()
	if refused != nil || sp == nil {
		return []string{fmt.Sprintf("host %d: start refused: %v", p.h.n, refused)}
	}
	st := sp.Stats()
	if st.Buffered.Records > 0 {
		left = append(left, fmt.Sprintf("host %d: buffered: %v", p.h.n, st.Err))
	}
	for name, d := range sh.Stats() {
		if d.Pending.Records > 0 {
			left = append(left, fmt.Sprintf("host %d: %s: %d pending at %s: %v", p.h.n, d.State, d.Pending.Records, name, d.Err))
		}
	}
	slices.Sort(left)
	return left
}

// probe sends one more record to every process, which must keep it.
func (w *world) probe() {
	for _, h := range w.hosts {
		p := h.proc
		if p == nil || w.stuck[h.n] {
			continue
		}
		sp, _, _ := p.running()
		if ctx, leave := p.entry.enter(); sp != nil && ctx != nil {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Minute)
			batch := []segment.Record{w.journal.record(100)}
			last, err := sp.Append(ctx, batch)
			cancel()
			leave()
			p.took(batch, last, err == nil)
			if err != nil && !errors.Is(err, spool.ErrClosed) {
				w.fail("no room: "+general(err.Error()), "all is well, and a record is not taken: %v; %+v", err, sp.Stats())
			}
		}
	}
}

// drainAll ends every process with a drain, which must be complete unless a reason is known.
func (w *world) drainAll(stuck bool) {
	for _, h := range w.hosts {
		if p := h.proc; p != nil {
			p.sample()
			p.drain()
		}
	}
	for _, h := range w.hosts {
		p := h.proc
		if p == nil {
			continue
		}
		select {
		case <-p.done:
		case <-time.After(2 * time.Hour):
			w.fail("a process does not end", "host %d", h.n)
			continue
		}
		w.collect(p)
		w.checkNeed(p, stuck)
		if r := p.report; r != nil && r.Outcome != drain.Delivered && !w.damaged && !stuck && !p.dead.Load() {
			w.fail("drain: "+string(r.Outcome)+" though all is well"+w.after(), "%s", r.JSON())
			w.stuck[h.n] = true
		}
	}
}

var (
	ids     = regexp.MustCompile(`\b[0-9a-z]{26}\b`)
	numbers = regexp.MustCompile(`[0-9]+[0-9a-f]*`)
)

// general returns what two failures with the same cause have in common.
func general(why string) string {
	why, _, _ = strings.Cut(why, "\n")
	why = numbers.ReplaceAllString(ids.ReplaceAllString(why, "S"), "N")
	why = regexp.MustCompile(`at [abc]:`).ReplaceAllString(why, "at D:")
	if len(why) > 200 {
		why = why[:200]
	}
	return why
}
