package audit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/object"
)

// walkers is how many spools are judged at the same time.
const walkers = 4

// auditor is one Run.
type auditor struct {
	o      Options
	places []*place
	rec    *recorder
	marks  *marks
	spools []object.Origin // all, sorted
	jobs   sync.WaitGroup
	fail   context.CancelCauseFunc

	mu      sync.Mutex
	exts    []string
	objects uint64
	seen    map[string]bool             // spools and instances that have appeared
	strays  []foundHead                 // heads of chains that no place has
	told    map[object.Origin]foundHead // the strays with the highest Last at a place without a chain of their spool
	lacks   []*lack                     // what places lack of groups
	kin     map[object.Origin]*group    // groups of several ids, by lineage
	crowded map[string]bool             // classes whose idle hours are not judged: see boundClasses
}

// Run audits the places. An error means that the audit could not be done: the options cannot be used (ErrOptions), or a request to a
// place failed. What is wrong with the data is in the Result.
func Run(ctx context.Context, o *Options) (*Result, error) { return runWith(ctx, o, nil, nil) }

// runWith is Run with the memory that earlier audits have kept of each place, if any. At the end it calls report, if not nil, for
// each place.
func runWith(ctx context.Context, o *Options, kept []*memory, report func(i int, p *place)) (*Result, error) {
	opts := o.withDefaults()
	if err := errors.Join(opts.validate(), wait.CheckContext(ctx)); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a := &auditor{o: opts, rec: newRecorder(&opts), fail: cancel, seen: map[string]bool{}, told: map[object.Origin]foundHead{}, kin: map[object.Origin]*group{}, crowded: map[string]bool{}}
	compareFolders(kept)
	for i, p := range opts.Places {
		var m *memory
		if kept != nil {
			m = kept[i]
		}
		a.places = append(a.places, newPlace(&a.o, p, m))
	}
	defer a.account(report)
	var err error
	if a.marks, err = loadMarks(&opts); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	begin := time.Now().UTC()
	// The order matters: an object is stored before a chain names it, so a listing that is made after the chains were read contains
	// it.
	for _, phase := range []func(context.Context){a.listChains, a.judgeChains, a.compareListings, a.readUnnamed} {
		if phase(ctx); ctx.Err() != nil {
			return nil, fmt.Errorf("audit: %w", errors.Join(context.Cause(ctx), a.marks.save()))
		}
	}
	if err := a.marks.remove(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return a.result(begin), nil
}

// account completes each place's memory, and calls report for each place.
func (a *auditor) account(report func(i int, p *place)) {
	for i, p := range a.places {
		if p.kept != nil {
			p.kept.sums = p.sums.Load()
		}
		if report != nil {
			report(i, p)
		}
	}
}

// check ends the audit if err is not nil.
func (a *auditor) check(err error) {
	if err != nil {
		a.fail(err)
	}
}

func (a *auditor) listChains(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range a.places {
		wg.Go(func() { a.check(p.listChains(ctx, a.rec)) })
	}
	wg.Wait()
	for _, p := range a.places {
		p.peers = a.places
		for id := range p.chains {
			a.spools = append(a.spools, id)
		}
	}
	slices.SortFunc(a.spools, object.Origin.Compare)
	a.spools = slices.Compact(a.spools)
}

// judgeChains judges the chains of every spool. It asks for each object that they name, if a request tells more than a listing does.
func (a *auditor) judgeChains(ctx context.Context) {
	todo := make(chan []object.Origin)
	var wg sync.WaitGroup
	for range walkers {
		wg.Go(func() {
			for ids := range todo {
				a.judgeGroup(ctx, ids)
			}
		})
	}
	for ids := range a.groups() {
		select {
		case todo <- ids:
		case <-ctx.Done():
		}
	}
	close(todo)
	wg.Wait()
	a.jobs.Wait()
	if ctx.Err() != nil {
		return
	}
	for _, h := range a.strays {
		a.check(a.reportStray(ctx, h))
	}
	a.boundClasses()
	a.checkHour(time.Now())
	for _, id := range a.spools {
		for _, p := range a.places {
			if w := p.walks[id]; w != nil {
				a.check(a.checkReplayed(ctx, w))
				a.reportOwed(w)
			}
		}
		a.reportAbsent(id)
	}
	for _, l := range a.lacks {
		a.check(a.reportLack(ctx, l))
	}
	for _, name := range a.o.Expect {
		if !a.seen[name] {
			a.rec.add(Finding{Code: NotAppeared, Detail: fmt.Sprintf("no chain of spool or instance %q anywhere", name)})
		}
	}
}

// compareListings compares, at every place, the objects that are there with those that the chains name.
func (a *auditor) compareListings(ctx context.Context) {
	var wg sync.WaitGroup
	for _, p := range a.places {
		wg.Go(func() { slices.SortFunc(p.expected, a.compareExpected) })
	}
	wg.Wait()
	for _, p := range a.places {
		for i, e := range p.expected { // two chains of related spools may name an object
			if i == 0 || a.compareExpected(p.expected[i-1], e) != 0 {
				a.objects++
			}
		}
	}
	for _, p := range a.places {
		wg.Go(func() { a.check(a.compareListing(ctx, p)) })
		wg.Go(func() { a.check(a.readRepairs(ctx, p)) })
	}
	wg.Wait()
}

// noteAppeared notes that a spool or an instance exists.
func (a *auditor) noteAppeared(names ...string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, name := range names {
		a.seen[name] = true
	}
}

func (a *auditor) result(begin time.Time) *Result {
	r := &Result{Time: begin, Verdict: a.rec.overall, Deep: a.o.Deep, Objects: a.objects}
	r.Findings, r.Omitted = a.rec.findings()
	for _, name := range a.o.Expect {
		if !a.seen[name] {
			r.NotAppeared = append(r.NotAppeared, name)
		}
	}
	for _, p := range a.places {
		r.Places = append(r.Places, p.name)
		for id, w := range p.walks {
			c := w.ChainReport
			c.Verdict = a.rec.verdict(chainID{p.name, id})
			r.Manifests += c.Manifests
			r.Chains = append(r.Chains, c)
		}
	}
	r.Hours = a.judgeHours(time.Now())
	slices.SortFunc(r.Chains, func(x, y ChainReport) int {
		if c := (object.Origin{Class: x.Class, Spool: x.Spool}).Compare(object.Origin{Class: y.Class, Spool: y.Spool}); c != 0 {
			return c
		}
		return strings.Compare(x.Place, y.Place)
	})
	if r.Chains == nil {
		r.Chains = []ChainReport{}
	}
	if len(r.Chains) == 0 {
		// Finding no chain proves nothing: a wrong prefix looks the same.
		r.Verdict = r.Verdict.worse(Owed)
	}
	return r
}
