package sim

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"
)

// world is everything in a simulation.
type world struct {
	t       *testing.T
	id      int64 // its number in this process, part of its mounts and addresses
	hosts   []*host
	places  map[string]*place
	journal journal
	lives   int
	logs    *syncBuffer // nil unless wanted

	stuck     map[int]bool // hosts that may still have undelivered records at the end
	damaged   bool         // files at rest were changed
	restored  bool         // a volume was replaced by an older one
	copied    bool
	movedAway bool // an object was moved away for a time

	mu       sync.Mutex
	failures []failure
	told     []string // descriptions of damage to files
}

// failure is a violation of the contract. Its kind is the same for the same bug; its detail is specific.
type failure struct{ kind, detail string }

// worlds is the number of the current world. It grows only after a world that has left something behind: everything that
// contains the number should have the same length in every run.
var worlds atomic.Int64

// hostsOfWorld is the number of hosts; most have nothing to do.
const hostsOfWorld = 4

// run executes a list of events and returns the violations of the contract; none if it held.
func run(t *testing.T, events []Event, logs *syncBuffer) (_ []failure, log string) {
	runtime.GC()
	w := &world{id: worlds.Load(), places: map[string]*place{}, stuck: map[int]bool{}, logs: logs}
	for _, name := range []string{"a", "b", "c"} {
		w.places[name] = newPlace(name)
	}
	for n := range hostsOfWorld {
		w.hosts = append(w.hosts, &host{w: w, n: n})
	}
	for offset := time.Duration(0); ; {
		era, rest, end := split(events)
		w.bubble(t, offset, era, end)
		if end == nil || len(w.failures) > 0 && rest == nil {
			break
		}
		events, offset = rest, time.Duration(end.B)*time.Second
	}
	return w.failures, fmt.Sprintf("%v digest %x", w.told, w.digest())
}

// digest returns a number that identifies the course of a life: the same list of events should give the same number.
func (w *world) digest() uint64 {
	h := fnv.New64a()
	w.journal.each(func(r *record) { fmt.Fprintln(h, r.id, r.size, r.state, r.durable, r.seq, r.excused) })
	for _, name := range []string{"a", "b", "c"} {
		for _, key := range w.places[name].mem.Keys() {
			fmt.Fprintln(h, ids.ReplaceAllString(key, "S"))
		}
	}
	return h.Sum64()
}

// split returns the events before the first Clock, that Clock, and the events after it.
func split(events []Event) (era, rest []Event, end *Event) {
	for i := range events {
		if events[i].Kind == Clock {
			return events[:i], events[i+1:], &events[i]
		}
	}
	return events, nil, nil
}

// bubble runs the events of one era. Every bubble's clock begins at the same time, which is how the clock is set back. A
// goroutine that stays blocked permanently is a failure, too.
func (w *world) bubble(t *testing.T, offset time.Duration, era []Event, end *Event) {
	defer func() {
		if p := recover(); p != nil {
			worlds.Add(1) // leftovers may still have its mounts
			w.fail("blocked", "goroutines are left that nothing can wake: %v%s", p, blocked())
		}
	}()
	synctest.Test(t, func(t *testing.T) {
		w.t = t
		cryptotest.SetGlobalRandom(t, uint64(offset)) // no two eras make the same ids
		pause(offset)
		time.Sleep(777 * time.Nanosecond) // from here on, no timer of a process ends when an event happens
		for _, e := range era {
			pause(e.After)
			w.look()
			w.apply(e)
		}
		if end == nil {
			w.settle()
		} else {
			pause(end.After)
			w.look()
		}
		w.endAll(end != nil && end.A == 1)
	})
}

// pause lets simulated time pass, and then waits until everything is idle.
func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// look takes samples, and checks processes that have ended.
func (w *world) look() {
	for _, h := range w.hosts {
		if p := h.proc; p != nil {
			p.sample()
			w.checkReady(p)
			w.collect(p)
		}
	}
}

// apply performs an event. An event that is impossible at the time does nothing, so that lists can be shortened.
func (w *world) apply(e Event) {
	h := w.hosts[e.Host%len(w.hosts)]
	p := h.proc
	switch e.Kind {
	case Start:
		w.start(h, e.A)
	case Down, Slow, LoseReply, Silent, Middlebox:
		w.place(e.Host).begin(e.Kind, e.A)
	case MoveAway:
		w.movedAway = true
		w.place(e.Host).moveAway(e.A)
	case Full:
		h.fill(e.A<<10, e.B)
	case Failing:
		h.fail(e.A == 1, e.B)
	case Refuse:
		h.refuse(e.A)
	case Damage:
		if done := h.damage(e.A, e.B); done != "" {
			w.damaged, h.orderly = true, false
			w.told = append(w.told, fmt.Sprintf("host %d: %s", h.n, done))
		}
	case KillAt, CutAt:
		h.arm(trap{steps[int(e.A)%len(steps)], e.B, e.Kind == CutAt, uint64(e.A*1000 + e.B)})
	case Copy, FileCopy, Snapshot, Restore, FileRestore, Adopt, Move, Container:
		w.volume(h, e)
	default:
		if p != nil {
			w.act(p, e)
		}
	}
}

// act performs an event on a process.
func (w *world) act(p *process, e Event) {
	switch e.Kind {
	case Append, Offer, Octet, Newline, Reset, Flood:
		w.send(p, e)
	case Stop:
		p.stop()
	case Drain:
		p.drain()
	case ScaleIn:
		if p.fleet != nil {
			p.drain()
		}
	case Kill:
		p.die(false, 0)
	case Cut:
		p.die(true, uint64(e.A))
	default:
		w.t.Fatalf("no event is called %q", e.Kind)
	}
}

// volume performs an event on a host's volume.
func (w *world) volume(h *host, e Event) {
	if h.mem == nil {
		return
	}
	switch e.Kind {
	case Copy, FileCopy:
		to := w.hosts[int(e.A)%len(w.hosts)]
		if to.mem != nil || to.proc != nil || to == h {
			return
		}
		to.mem = h.volume(e.B)
		if e.Kind == FileCopy {
			to.mem = to.mem.FileCopy()
		}
		to.third, to.forgot = h.third, h.forgot
		w.copied = true
		w.start(to, h.opts)
	case Snapshot:
		h.snapshot, h.in = h.volume(e.B), map[int]bool{}
		w.journal.each(func(r *record) { h.in[r.id] = r.volume == h.n && r.durable })
	case Restore, FileRestore:
		if h.snapshot == nil {
			return
		}
		w.kill(h)
		h.mu.Lock()
		h.mem = h.snapshot.KillClone()
		if e.Kind == FileRestore {
			h.mem = h.mem.FileCopy()
		}
		h.mu.Unlock()
		w.restored, h.orderly = true, false
		w.journal.each(func(r *record) {
			if r.volume == h.n && !h.in[r.id] && r.state != sent {
				r.excused = replacedVolume
			}
		})
	case Move:
		w.move(h, w.hosts[int(e.A)%len(w.hosts)])
	case Container:
		w.kill(h)
		h.containers++
		w.start(h, h.opts)
	case Adopt:
		w.kill(h)
		h.gone, h.adopters = true, 1+e.A%2
		w.adopt(h, h.adopters)
	}
}

// move attaches a volume to another host, which has none.
func (w *world) move(from, to *host) {
	if to.mem != nil || to.gone || from.gone || to == from {
		return
	}
	w.kill(from)
	from.mu.Lock()
	to.mem, from.mem = from.mem, nil
	from.mu.Unlock()
	to.tenure, from.tenure = from.tenure, tenure{}
	w.journal.each(func(r *record) {
		if r.volume == from.n {
			r.volume = to.n
		}
	})
	w.start(to, to.opts)
}

// kill kills everything that runs on a host, and waits until it has ended.
func (w *world) kill(h *host) {
	for _, other := range w.hosts {
		for _, a := range other.jobs {
			if a.by == h {
				a.kill()
				<-a.done
			}
		}
	}
	if p := h.proc; p != nil {
		p.die(false, 0)
		<-p.done
		w.collect(p)
	}
}

// endAll ends every process, before the clock is set back and at the end.
func (w *world) endAll(orderly bool) {
	for _, h := range w.hosts {
		h.heal()
		if p := h.proc; p != nil && orderly {
			p.stop()
			select {
			case <-p.done:
				w.collect(p)
			case <-time.After(10 * time.Minute):
			}
		}
		w.kill(h)
	}
	for _, h := range w.hosts {
		for _, a := range h.jobs {
			a.kill()
			<-a.done
		}
		h.jobs = nil // those that are left are adopted again
	}
	for _, p := range w.places {
		p.begin("", 0)
	}
	pause(time.Minute) // short waits end now: time stops with the bubble's first goroutine
}

// place returns a destination by number.
func (w *world) place(n int) *place { return w.places[[]string{"a", "b", "c"}[n%3]] }

// blocked returns the stacks of goroutines in bubbles.
func blocked() (s string) {
	b := make([]byte, 1<<20)
	for _, g := range strings.Split(string(b[:runtime.Stack(b, true)]), "\n\n") {
		if first, _, _ := strings.Cut(g, "\n"); strings.Contains(first, "bubble") {
			s += "\n" + g
		}
	}
	return s
}

// fail records a violation of the contract, the first of each kind.
func (w *world) fail(kind, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.failures {
		if f.kind == kind {
			return
		}
	}
	w.failures = append(w.failures, failure{kind, fmt.Sprintf(format, args...)})
}

// log returns the logger of a process or an adoption.
func (w *world) log(who any) *slog.Logger {
	if w.logs == nil {
		return nil
	}
	h := mortalHandler{slog.NewTextHandler(w.logs, &slog.HandlerOptions{Level: slog.LevelDebug}), nil}
	switch x := who.(type) {
	case *process:
		h.dead = &x.dead
		return slog.New(h).With("on", x.h.name(), "life", x.n)
	case *adoption:
		h.dead = &x.dead
		return slog.New(h).With("on", "adopter-"+x.by.name())
	}
	return nil
}

// mortalHandler is the log of a process: it drops lines after the process's death.
type mortalHandler struct {
	slog.Handler
	dead *atomic.Bool
}

// Enabled implements slog.Handler.
func (m mortalHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return !m.dead.Load() && m.Handler.Enabled(ctx, level)
}

// WithAttrs implements slog.Handler.
func (m mortalHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return mortalHandler{m.Handler.WithAttrs(attrs), m.dead}
}

// syncBuffer is a buffer for the log of many goroutines.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}
