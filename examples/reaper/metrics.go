package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// account is what a reaper has seen and done, for its metrics, which follow the conventions of package drain/monitor.
type account struct {
	now   func() time.Time
	apply bool

	mu       sync.Mutex
	volumes  map[string]int // without an instance, by state
	kept     map[string]int // by reason
	first    map[string]time.Time
	oldest   time.Time // since when the oldest volume is without its instance; zero if there is none
	failures map[string]uint64
	deleted  uint64
	success  time.Time // the end of the last pass without an error, or the start
}

var _ prometheus.Collector = (*account)(nil)

func newAccount(now func() time.Time, apply bool) *account {
	a := &account{now: now, apply: apply, first: map[string]time.Time{}, failures: map[string]uint64{}, success: now()}
	for _, action := range actions {
		a.failures[action] = 0
	}
	return a
}

// actions are the actions that can fail.
var actions = []string{"list", "attach", "detach", "tag", "delete", "mount", "unmount", "ask", "audit"}

// unnoted is the state of a volume that no reaper has tagged yet.
const unnoted = "found"

// see counts the volumes that instances left behind, given all volumes of the fleet in this zone.
func (a *account) see(all []Volume) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := a.now()
	first := map[string]time.Time{}
	a.volumes, a.kept, a.oldest = map[string]int{}, map[string]int{}, time.Time{}
	for i := range all {
		v := &all[i]
		switch {
		case v.Attached != nil && !slices.Contains(devices, v.Attached.Device): // an instance's own volume
			continue
		case v.Attached == nil && (v.State != "available" || now.Sub(v.Created) < young): // about to be attached, or deleted
			continue
		}
		state := v.Tags[tagState]
		if state != adopting && state != kept && state != delivered {
			state = unnoted
		}
		a.volumes[state]++
		if state == kept {
			a.kept[v.reason()]++
		}
		since := now
		if t, ok := a.first[v.ID]; ok {
			since = t
		}
		first[v.ID] = since
		if t, err := time.Parse(time.RFC3339, v.Tags[tagSince]); err == nil && t.Before(since) {
			since = t
		}
		if a.oldest.IsZero() || since.Before(a.oldest) {
			a.oldest = since
		}
	}
	a.first = first
}

// did counts a failed action. An answer that a reaper expects and acts on is not a failure.
func (a *account) did(action string, err error) {
	for _, is := range []error{ErrGone, ErrTaken, ErrDevice, ErrFull, context.Canceled} {
		if errors.Is(err, is) {
			return
		}
	}
	if err != nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.failures[action]++
	}
}

// passed records the end of a pass.
func (a *account) passed(err error) {
	if err == nil {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.success = a.now()
	}
}

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

var (
	volumesDesc  = describe("penstock_reaper_orphaned_volumes", "Volumes of the fleet in this zone that instances have left, by state: found, adopting, kept or delivered.", "state")
	keptDesc     = describe("penstock_reaper_kept_volumes", "Volumes that are kept, since they are not proven to be delivered, by reason.", "reason")
	oldestDesc   = describe("penstock_reaper_oldest_volume_seconds", "How long the oldest of these volumes has been without its instance, as far as is known; 0 without any.")
	deletedDesc  = describe("penstock_reaper_deleted_volumes_total", "Volumes that this process has deleted after the proof.")
	failuresDesc = describe("penstock_reaper_failures_total", "Actions that failed, and are tried again.", "action")
	successDesc  = describe("penstock_reaper_success_age_seconds", "Time since the last pass over all volumes without an error, or since the start.")
	infoDesc     = describe("penstock_reaper_info", "Always 1; apply says whether it does anything (-apply).", "apply")
)

// Describe implements prometheus.Collector.
func (a *account) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{volumesDesc, keptDesc, oldestDesc, deletedDesc, failuresDesc, successDesc, infoDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector. Every state and reason is exported from the beginning, so that an alarm ends when
// its number becomes zero.
func (a *account) Collect(ch chan<- prometheus.Metric) {
	a.mu.Lock()
	defer a.mu.Unlock()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, n uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge(infoDesc, 1, strconv.FormatBool(a.apply))
	gauge(successDesc, a.now().Sub(a.success).Seconds())
	count(deletedDesc, a.deleted)
	for _, action := range slices.Sorted(maps.Keys(a.failures)) {
		count(failuresDesc, a.failures[action], action)
	}
	if a.volumes == nil {
		return // nothing is known yet
	}
	for _, state := range []string{unnoted, adopting, kept, delivered} {
		gauge(volumesDesc, float64(a.volumes[state]), state)
	}
	for _, reason := range reasons {
		gauge(keptDesc, float64(a.kept[reason]), reason)
	}
	age := 0.0
	if !a.oldest.IsZero() {
		age = a.now().Sub(a.oldest).Seconds()
	}
	gauge(oldestDesc, age)
}

// counted wraps the calls of a reaper, and records their results in its account.
type counted struct {
	lister   Lister
	attacher Attacher
	keeper   Keeper
	mounts   Mounts
	*account
}

var (
	_ Lister   = counted{}
	_ Attacher = counted{}
	_ Keeper   = counted{}
	_ Mounts   = counted{}
)

// Volumes implements Lister.
func (c counted) Volumes(ctx context.Context) ([]Volume, error) {
	all, err := c.lister.Volumes(ctx)
	if c.did("list", err); err == nil {
		c.see(all)
	}
	return all, err
}

// Attach implements Attacher.
func (c counted) Attach(ctx context.Context, volume, device string) error {
	err := c.attacher.Attach(ctx, volume, device)
	c.did("attach", err)
	return err
}

// Detach implements Attacher.
func (c counted) Detach(ctx context.Context, volume, device string) error {
	err := c.attacher.Detach(ctx, volume, device)
	c.did("detach", err)
	return err
}

// Tag implements Keeper.
func (c counted) Tag(ctx context.Context, volume string, tags map[string]string) error {
	err := c.keeper.Tag(ctx, volume, tags)
	c.did("tag", err)
	return err
}

// Delete implements Keeper.
func (c counted) Delete(ctx context.Context, volume string) error {
	err := c.keeper.Delete(ctx, volume)
	if c.did("delete", err); err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.deleted++
	}
	return err
}

// At implements Mounts.
func (c counted) At(device string) ([]string, error) { return c.mounts.At(device) }

// Mount implements Mounts.
func (c counted) Mount(device string, content Content, dir string) error {
	err := c.mounts.Mount(device, content, dir)
	c.did("mount", err)
	return err
}

// Unmount implements Mounts.
func (c counted) Unmount(device, dir string) error {
	err := c.mounts.Unmount(device, dir)
	c.did("unmount", err)
	return err
}

// watch makes a reaper's calls counted.
func (a *account) watch(r *Reaper) {
	c := counted{r.Lister, r.Attacher, r.Keeper, r.Mounts, a}
	r.Lister, r.Attacher, r.Keeper, r.Mounts = c, c, c, c
	ask, prove := r.Adoption, r.Prove
	r.Adoption = func(ctx context.Context, dir string) (Adoption, error) {
		x, err := ask(ctx, dir)
		a.did("ask", err)
		return x, err
	}
	r.Prove = func(ctx context.Context, dir string) (Proof, error) {
		x, err := prove(ctx, dir)
		a.did("audit", err)
		return x, err
	}
}

// listenHTTP serves /metrics and /livez until stop.
func listenHTTP(addr string, a *account, log *slog.Logger) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, err
	}
	srv := &http.Server{Handler: handler(a), ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	served := make(chan struct{})
	go func() {
		defer close(served)
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			log.Error("reaper: the HTTP server has ended; volumes are emptied on", "err", err)
		}
	}()
	log.Info("reaper: metrics at /metrics", "addr", l.Addr().String())
	return func() { srv.Close(); <-served }, nil
}

func handler(a *account) http.Handler {
	r := prometheus.NewRegistry()
	r.MustRegister(a, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprintln(rw, "ok") })
	mux.Handle("GET /metrics", promhttp.HandlerFor(r, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true}))
	return mux
}
