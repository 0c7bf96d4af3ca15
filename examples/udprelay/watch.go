package main

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ingest/udprelay"
)

// watch keeps the engine's targets up to date.
type watch struct {
	s      *settings
	engine udprelay.Engine
	name   string // the name of the engine
	log    *slog.Logger
	prober *prober
	wake   chan struct{} // has a buffer of one

	readings readings

	mu        sync.Mutex
	listed    []udprelay.Target // the last good list
	listErr   error             // of the last attempt to read it
	listedAt  time.Time
	inUse     []netip.AddrPort
	useErr    error
	everUsed  bool
	failOpen  bool
	changes   uint64
	badLists  uint64
	failedUse uint64
}

// settle is how long a change waits for further changes: a flapping target causes ten changes per second at most.
const settle = 100 * time.Millisecond

func newWatch(s *settings, engine udprelay.Engine, name string, log *slog.Logger) *watch {
	w := &watch{s: s, engine: engine, name: name, log: log, wake: make(chan struct{}, 1)}
	w.prober = newProber(s.checks, w.poke)
	return w
}

// poke makes run check the targets now.
func (w *watch) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run follows the source and the health of its targets until ctx ends.
func (w *watch) run(ctx context.Context) {
	defer w.prober.stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { w.follow(ctx) })
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		}
		w.use(ctx)
		wait := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// follow reads the source again and again until ctx ends. It is a goroutine of its own because a source may answer slowly, and
// an unhealthy target must be removed immediately even then.
func (w *watch) follow(ctx context.Context) {
	refresh := time.NewTicker(w.s.refresh)
	defer refresh.Stop()
	for {
		w.list(ctx)
		w.poke() // also to retry targets that the engine has refused
		select {
		case <-ctx.Done():
			return
		case <-refresh.C:
		}
	}
}

// list reads the source. An unusable list changes nothing.
func (w *watch) list(ctx context.Context) {
	targets, err := w.s.source.Targets(ctx)
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.listErr
	w.listErr = err
	if err != nil {
		w.badLists++
		if was == nil || was.Error() != err.Error() {
			w.log.Error("udprelay: the list of targets is not used; the last good one stays", "known", len(w.listed), "err", err)
		}
		return
	}
	if was != nil {
		w.log.Info("udprelay: the list of targets can be read again", "known", len(targets))
	}
	w.listed, w.listedAt = targets, time.Now()
	var ask []netip.AddrPort
	for _, t := range targets {
		ask = append(ask, t.Addr)
	}
	w.prober.watch(ctx, ask)
}

// choose returns the targets that should be in use. If all are unhealthy, it returns all except those that drain: then the
// cause is probably elsewhere, and a datagram that may arrive is better than one that cannot. ready is false until each target
// has been checked once.
func (w *watch) choose() (targets []netip.AddrPort, failOpen, ready bool) {
	var all []netip.AddrPort
	ready = len(w.listed) > 0
	for _, t := range w.listed {
		if t.Draining {
			continue
		}
		h := w.prober.state(t.Addr)
		all = append(all, t.Addr)
		ready = ready && (h.checked || w.everUsed)
		if h.Healthy {
			targets = append(targets, t.Addr)
		}
	}
	if len(targets) == 0 && len(all) > 0 {
		targets, failOpen = all, true
	}
	slices.SortFunc(targets, netip.AddrPort.Compare)
	return targets, failOpen, ready
}

// use passes the targets that should be in use to the engine, if they have changed.
func (w *watch) use(ctx context.Context) {
	w.mu.Lock()
	targets, failOpen, ready := w.choose()
	same := w.everUsed && w.useErr == nil && slices.Equal(targets, w.inUse)
	open := w.failOpen
	w.mu.Unlock()
	if !ready || same && failOpen == open {
		return
	}
	var err error
	if !same {
		err = w.engine.Use(ctx, targets)
	}
	if ctx.Err() != nil {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	was := w.useErr
	if w.useErr = err; err != nil {
		w.failedUse++
		if was == nil || was.Error() != err.Error() {
			w.log.Error("udprelay: cannot change the targets; the previous ones stay in use", "to", targets, "err", err)
		}
		return
	}
	if failOpen && !open {
		w.log.Error("udprelay: no target is healthy; all are used: check the targets, and whether -check reaches them", "to", targets)
	}
	w.failOpen = failOpen
	if !same {
		w.changes++
		w.log.Info("udprelay: the targets have changed", "was", w.inUse, "is", targets)
		w.inUse, w.everUsed = targets, true
	}
}
