package status

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"path"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/internal/wait"
)

// Options configure a Watch.
type Options struct {
	// Drainer has the classes. Required.
	Drainer *drain.Drainer
	// Program and Version name the program; default those of its build.
	Program, Version string
}

// Watch watches a service. All methods may be called from any goroutine.
type Watch struct {
	d       *drain.Drainer
	build   Build
	started time.Time
	disks   surveys
	adopted waits
	history history
	last    lastPage
}

// New returns a Watch. It observes the service while Run runs.
func New(o *Options) (*Watch, error) {
	if o == nil || o.Drainer == nil {
		return nil, errors.New("status: Options.Drainer is nil")
	}
	b := build()
	b.Program, b.Version = cmp.Or(o.Program, b.Program), cmp.Or(o.Version, b.Version)
	now := time.Now()
	return &Watch{d: o.Drainer, build: b, started: now, history: newHistory(now)}, nil
}

// Run records the history and surveys the disks until ctx ends, and then returns nil. Without Run, values that need a
// history are unknown.
func (w *Watch) Run(ctx context.Context) error {
	if err := wait.CheckContext(ctx); err != nil {
		return fmt.Errorf("status: %w", err)
	}
	defer w.disks.wait()
	tick := time.NewTicker(time.Second) // to notice added classes; see history.due
	defer tick.Stop()
	for {
		w.look()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look notes the adoptions, and adds a point of each class whose last one is old enough.
func (w *Watch) look() {
	st := w.d.Stats()
	w.adopted.late(st.Adoptions, time.Now())
	for _, c := range st.Classes {
		sp, now := c.Shipper.Spool(), time.Now()
		if !w.history.due(sp.Options().Class, now) {
			continue
		}
		free := math.NaN()
		if seen, ok := w.disks.get(sp.Dir()); ok && seen.err == nil && seen.total > 0 {
			free = float64(seen.free)
		}
		w.history.note(c, free, now)
		w.disks.look(sp)
	}
}

// build returns the build information of the binary.
func build() Build {
	b := Build{Version: "unknown", Go: runtime.Version(), System: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return b
	}
	b.Program, b.Version = path.Base(info.Path), cmp.Or(info.Main.Version, b.Version)
	changed := ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			b.Revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			changed = "+changes"
		}
	}
	if b.Revision != "" {
		b.Revision += changed
	}
	return b
}
