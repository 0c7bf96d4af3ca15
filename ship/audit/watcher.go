package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/spool/object"
)

// WatchOptions say what to watch, and how often. The zero value of every field but Places means its documented default.
type WatchOptions struct {
	// Options are those of each audit. Checkpoint, Progress and its Logger are not used. With Hour, only that hour is watched.
	Options
	// Interval is the time from the beginning of an increment to that of the next one; default 30 seconds.
	Interval time.Duration
	// FullInterval is the time from the beginning of a full audit to that of the next one; default 24 hours.
	FullInterval time.Duration
	// Retention is the age after which objects may have been deleted: Since is that long before each audit. Default: Since is
	// used as it is.
	Retention time.Duration
	// Overdue is how long a chain that is neither final nor closed may go without a new manifest; default 75 minutes. An idle
	// collector writes a manifest each hour.
	Overdue time.Duration
	// Logger gets a line for each hour that has become complete, each finding of damage, each instance that is overdue, and each
	// audit that could not be done. Default: none.
	Logger *slog.Logger
	// Announce, if not nil, is called by Run for each hour whose verdict has changed. The first verdict on an hour is a change too;
	// was is empty then.
	Announce func(h HourReport, was Verdict)
}

func (o *WatchOptions) withDefaults() WatchOptions {
	var out WatchOptions
	if o != nil {
		out = *o
	}
	out.Checkpoint, out.Progress, out.Options.Logger = "", nil, nil
	out.Interval = cmp.Or(out.Interval, 30*time.Second)
	out.FullInterval = cmp.Or(out.FullInterval, 24*time.Hour)
	out.Overdue = cmp.Or(out.Overdue, 75*time.Minute)
	if out.Logger == nil {
		out.Logger = slog.New(slog.DiscardHandler)
	}
	return out
}

func (o *WatchOptions) validate() error {
	all := o.Options.withDefaults()
	err := all.validate()
	for name, d := range map[string]time.Duration{"Interval": o.Interval, "FullInterval": o.FullInterval, "Retention": o.Retention, "Overdue": o.Overdue} {
		if d < 0 {
			err = errors.Join(err, fmt.Errorf("%w: %s is %v", ErrOptions, name, d))
		}
	}
	return err
}

// Watcher audits the same places again and again. The first audit is a full one, as Run makes it. Those that follow are
// increments: they ask only for what may be new, and judge it together with what the Watcher remembers, exactly as a full audit
// would. An increment looks at
//
//   - new manifests, heads, closings and notes of repairs, and the last manifest of each chain;
//   - the listing of each hour that ended less than two hours ago, or has objects that a new manifest names, or has a finding, or has
//     just become complete; in addition, of 16 hours with objects and 4 without, in turn;
//   - objects that it has not found right before, by asking for them (Options.Deep: by reading them).
//
// So it notices new objects at once (in old hours, once a chain names them), and the removal of objects from recent hours. It notices
// the removal of an object from an old hour, or of a manifest from the middle of a chain, when their turn comes; but only the next
// full audit notices alterations that keep the size, and objects of a class without any chain that can be read.
//
// A Watcher keeps the manifests of all chains in memory, some 1,100 bytes for each segment and place, and twice that while a full
// audit runs. Nothing is kept on disk: a Watcher that is started again begins with a full audit.
type Watcher struct {
	o WatchOptions

	step   sync.Mutex // one increment at a time
	kept   []*memory
	last   map[hourID]Verdict
	status atomic.Pointer[Status]
	told   teller
}

// maxTouched bounds the folders that an increment lists because something is wrong there.
const maxTouched = 64

type hourID struct {
	class string
	hour  int64
}

// NewWatcher returns a Watcher that has not looked at anything yet. The error wraps ErrOptions.
func NewWatcher(o *WatchOptions) (*Watcher, error) {
	opts := o.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, fmt.Errorf("audit: %w", err)
	}
	return &Watcher{o: opts, last: map[hourID]Verdict{}, told: newTeller(opts.Logger)}, nil
}

// Status returns the result of the last audit that succeeded and the outcome of the last one, or nil before the first one has ended.
func (w *Watcher) Status() *Status { return w.status.Load() }

// Run watches until ctx ends, and then returns nil. If a place does not answer, Run goes on: Status says so, and the next increment
// tries again.
func (w *Watcher) Run(ctx context.Context) error {
	if err := wait.CheckContext(ctx); err != nil {
		return fmt.Errorf("audit: %w", err)
	}
	full := make(chan fullAudit, 1)
	var running sync.WaitGroup
	defer running.Wait()
	began, busy := time.Now(), false
	for ctx.Err() == nil {
		begin := time.Now()
		select {
		case f := <-full:
			busy = false
			if !w.adopt(f) {
				began = time.Now().Add(fullRetry - w.o.FullInterval)
			}
		default:
		}
		s, err := w.Step(ctx)
		if err == nil {
			w.announce(s)
		} else if ctx.Err() == nil {
			w.told.failed(err)
		}
		if err == nil && !busy && time.Since(began) >= w.o.FullInterval {
			began, busy = time.Now(), true
			running.Go(func() {
				full <- w.full(ctx)
			})
		}
		_ = wait.Sleep(ctx, w.o.Interval-time.Since(begin))
	}
	return nil
}

// fullAudit is the outcome of a full audit that ran at the same time as increments.
type fullAudit struct {
	begin  time.Time
	kept   []*memory
	err    error
	failed []string // the places at which requests failed
}

// text says that the audit failed, and why.
func (f *fullAudit) text() string {
	return errText(fmt.Errorf("the full audit of %s: %w", f.begin.UTC().Format(time.RFC3339), f.err))
}

// failedAt reports whether a failed full audit has no result because of a place. If the error is of no place, it is because of all.
func (f *fullAudit) failedAt(place string) bool {
	return f != nil && (len(f.failed) == 0 || slices.Contains(f.failed, place))
}

// fullRetry is the time from a full audit that failed to the next one.
const fullRetry = 10 * time.Minute

// adopt replaces the Watcher's memory by that of a full audit, if that audit succeeded.
func (w *Watcher) adopt(f fullAudit) bool {
	w.told.fullFailed(f.err)
	if f.err != nil {
		w.update(func(s *Status) { s.noteFull(&f) })
		return false
	}
	w.update(func(s *Status) { s.failing = nil })
	w.step.Lock()
	defer w.step.Unlock()
	for i, m := range f.kept {
		m.succeed(w.kept[i])
	}
	w.kept = f.kept
	return true
}

// full makes a full audit and returns only its memory: the next increment reaches the same verdict from that.
func (w *Watcher) full(ctx context.Context) fullAudit {
	w.step.Lock()
	for _, m := range w.kept {
		clear(m.changed)
	}
	w.step.Unlock()
	kept := newMemories(len(w.o.Places))
	o := w.options()
	f := fullAudit{begin: time.Now(), kept: kept}
	_, f.err = runWith(ctx, &o, kept, func(_ int, p *place) {
		if p.failure.Load() != nil {
			f.failed = append(f.failed, p.name)
		}
	})
	if f.err != nil {
		f.kept = nil
		return f
	}
	w.told.full(f.begin, time.Since(f.begin))
	w.update(func(s *Status) { s.Full, s.FullSeconds = f.begin.UTC(), time.Since(f.begin).Seconds() })
	return f
}

// options returns the options of an audit that begins now.
func (w *Watcher) options() Options {
	o := w.o.Options
	if w.o.Retention > 0 {
		o.Since = time.Now().Add(-w.o.Retention)
	}
	return o
}

func (w *Watcher) update(change func(s *Status)) *Status {
	for {
		old := w.status.Load()
		s := new(Status)
		if old != nil {
			*s = *old
		}
		change(s)
		if w.status.CompareAndSwap(old, s) {
			return s
		}
	}
}

// Step makes one audit: a full one the first time, and an increment from then on. Run calls it. An error means that the audit could
// not be done; it wraps ErrOptions, or is the error of a place.
func (w *Watcher) Step(ctx context.Context) (*Status, error) {
	w.step.Lock()
	defer w.step.Unlock()
	first := w.kept == nil
	if first {
		w.kept = newMemories(len(w.o.Places))
	}
	begin := time.Now()
	before := make([]uint64, len(w.kept))
	for i, m := range w.kept {
		before[i] = m.round
	}
	r, places, err := w.audit(ctx, begin)
	for left := 2; err == nil; left-- { // bounded, so that the increment ends even if a place changes all the time
		shaken, unlisted := w.settle(), w.unlisted(r, before, first)
		if !unlisted && (!shaken || left <= 0) {
			break
		}
		r, places, err = w.audit(ctx, begin)
	}
	took := time.Since(begin)
	s := w.update(func(s *Status) {
		s.note(begin, took, places, err)
		if err == nil {
			s.Result, s.Overdue = r, overdue(r, w.o.Overdue, time.Now())
		}
		if err == nil && first {
			s.Full, s.FullSeconds = s.Attempt, s.Seconds
		}
	})
	if err != nil {
		if first {
			w.kept = nil
		}
		return nil, err
	}
	for i, m := range w.kept {
		for j := range r.Findings {
			if f := &r.Findings[j]; f.Place == r.Places[i] && len(m.touched) < maxTouched {
				m.touch(f.Key)
			}
		}
	}
	return s, nil
}

func (w *Watcher) audit(ctx context.Context, begin time.Time) (r *Result, places []PlaceStatus, err error) {
	o := w.options()
	r, err = runWith(ctx, &o, w.kept, func(_ int, p *place) {
		s := PlaceStatus{Place: p.name, Requests: p.requests.Load()}
		if e := p.failure.Load(); e != nil {
			s.Err = errText(*e)
		} else if ctx.Err() == nil {
			s.LastSuccess = begin.UTC()
		}
		places = append(places, s)
	})
	return r, places, err
}

// settle resets shaken, and reports whether it was set: then the audit must be repeated.
func (w *Watcher) settle() (again bool) {
	for _, m := range w.kept {
		again = again || m.shaken
		m.shaken = false
	}
	return again
}

// unlisted reports whether an hour has become complete whose folder this increment has not listed at every place, and has the next
// audit list it. The chain that was last to pass the hour says nothing about objects of other chains there. Only a listing shows
// whether those still exist, and anyone who waits for the hour relies on the verdict.
func (w *Watcher) unlisted(r *Result, before []uint64, first bool) (some bool) {
	last := w.status.Load()
	if first || last == nil || last.Result == nil || !w.o.Hour.IsZero() { // then all hours that are judged were listed
		return false
	}
	was := map[hourID]Verdict{}
	for _, h := range last.Result.Hours {
		was[hourID{h.Class, h.Hour.Unix()}] = h.Verdict
	}
	for _, h := range r.Hours {
		if !h.Verdict.isGood() || was[hourID{h.Class, h.Hour.Unix()}].isGood() {
			continue
		}
		f := object.HourPrefix(h.Class, object.HourOf(h.Hour))
		for i, m := range w.kept {
			if m.folders[f].round <= before[i] {
				m.touched[f], some = true, true
			}
		}
	}
	return some
}

// announce logs what has changed, and calls Announce.
func (w *Watcher) announce(s *Status) {
	for _, h := range s.Result.Hours {
		id := hourID{h.Class, h.Hour.Unix()}
		was := w.last[id]
		if was == h.Verdict {
			continue
		}
		w.last[id] = h.Verdict
		w.told.hour(h, was)
		if w.o.Announce != nil {
			w.o.Announce(h, was)
		}
	}
	w.told.findings(s.Result)
	w.told.overdue(s.Overdue)
}
