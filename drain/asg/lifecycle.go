package asg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
)

// Lifecycle is a drain.Lifecycle. All methods may be called from any goroutine.
type Lifecycle struct {
	o   Options
	log *slog.Logger

	link *link
	pool *pool

	mu        sync.Mutex
	goes      bool
	rebalance bool // the recommendation was logged
	// protected is the last value of the scale-in protection; protectSet tells whether it was set.
	protected, protectSet bool

	// The heartbeat. Used by Update, and after it by Finish.
	action Action
	hook   Hook
	next   time.Time // when the next heartbeat is due
	first  time.Time // when the hook was first seen to wait
	warned time.Time
	left   bool // the group has given up and retained the instance: no action waits any more
	done   bool // the action is completed, or cannot be

	// Used by Update only, which one goroutine calls at a time.
	checked                               bool
	checkNext, protectNext, protectWarned time.Time
}

var _ drain.Lifecycle = (*Lifecycle)(nil)

// New returns a Lifecycle. It makes no request yet, so a service also starts on a host without metadata.
func New(o *Options) (*Lifecycle, error) {
	opts := o.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return &Lifecycle{o: opts, log: opts.Logger, link: newLink(&opts), pool: &pool{dir: opts.Dir, log: opts.Logger}}, nil
}

// Notice implements drain.Lifecycle: it reads the metadata.
func (l *Lifecycle) Notice(ctx context.Context) (drain.Notice, bool, error) {
	meta, service, id, err := l.link.get(ctx)
	if err != nil {
		return drain.Notice{}, false, err
	}
	// If one of these cannot be read, that must not hide the others.
	target, err := get(ctx, meta, "autoscaling/target-lifecycle-state")
	spot, serr := get(ctx, meta, "spot/instance-action")
	recommended, rerr := get(ctx, meta, "events/recommendations/rebalance")
	n, goes := reclaim(spot) // if there are two notices, the one with a deadline counts
	retained := false
	if !goes && target == "Terminated" {
		// The metadata is the same for an instance that is being terminated and for one that was retained.
		inst, err := service.Instance(ctx, id)
		retained = err == nil && strings.HasSuffix(inst.State, ":Retained")
	}
	leaving, lerr := l.pool.leaves(ctx, service, id, target)
	l.mu.Lock()
	defer l.mu.Unlock()
	if recommended != "" && !l.rebalance {
		l.rebalance = true
		l.log.Warn("asg: EC2 recommends replacing this spot instance; its two-minute notice may follow", "recommendation", recommended)
	}
	if !goes && leaving {
		n, goes = drain.Notice{Trigger: "scale-in: target lifecycle state " + target, Retained: retained}, true
	}
	l.goes, l.left = l.goes || goes, l.left || retained
	if goes { // even if another request has failed
		return n, true, nil
	}
	return n, false, errors.Join(err, serr, rerr, lerr)
}

// get returns "" if there is nothing at the path, which is the usual case.
func get(ctx context.Context, meta Metadata, path string) (string, error) {
	s, err := meta.Get(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return s, err
}

// spotMargin is how long before the end of a reclaimed spot instance its drain must end.
const spotMargin = 5 * time.Second

// reclaim reads a spot interruption notice (EC2 User Guide, "Spot Instance interruption notices").
func reclaim(js string) (drain.Notice, bool) {
	if js == "" {
		return drain.Notice{}, false
	}
	var a struct {
		Action string    `json:"action"`
		Time   time.Time `json:"time"`
	}
	if err := json.Unmarshal([]byte(js), &a); err != nil || a.Time.IsZero() {
		return drain.Notice{Trigger: "spot interruption (unreadable notice)"}, true
	}
	return drain.Notice{Trigger: "spot interruption: " + a.Action, Deadline: a.Time.Add(-spotMargin)}, true
}

// find looks up the group and the hook of this instance's action.
func (l *Lifecycle) find(ctx context.Context) (Action, Hook, Settings, error) {
	_, service, id, err := l.link.get(ctx)
	if err != nil {
		return Action{}, Hook{}, Settings{}, err
	}
	inst, err := service.Instance(ctx, id)
	if err != nil {
		return Action{}, Hook{}, Settings{}, err
	}
	if inst.Group == "" {
		return Action{}, Hook{}, Settings{}, noGroup(service, id)
	}
	st, err := service.Settings(ctx, inst.Group)
	if err != nil {
		return Action{}, Hook{}, st, err
	}
	var names []string
	for _, h := range st.Hooks {
		if h.Name == l.o.Hook || l.o.Hook == "" && len(st.Hooks) == 1 {
			return Action{inst.Group, h.Name, id}, h, st, nil
		}
		names = append(names, h.Name)
	}
	return Action{}, Hook{}, st, fmt.Errorf("%w: wanted %q of group %s, which has [%s]", errNoHook, l.o.Hook, inst.Group, strings.Join(names, " "))
}

var (
	errNoGroup = errors.New("asg: the instance is in no Auto Scaling group")
	errNoHook  = errors.New("asg: cannot determine the termination hook")
)

// noGroup returns an error that names the region, if the service knows it: a group exists in one region only.
func noGroup(s Service, id string) error {
	if r, ok := s.(interface{ Region() string }); ok {
		return fmt.Errorf("%w: %s in %s", errNoGroup, id, r.Region())
	}
	return fmt.Errorf("%w: %s", errNoGroup, id)
}

// Update implements drain.Lifecycle: while the service runs it checks the group's settings, once, and protects the
// instance if Options.ProtectAbove is set; during a drain it sends the heartbeats, at most a third of the hook's timeout
// apart. It does so even if the scale-in begins after a drain that something else has triggered.
func (l *Lifecycle) Update(ctx context.Context, p drain.Status) {
	if p.Phase == drain.PhaseRun {
		if !l.going() {
			l.check(ctx)
			l.protect(ctx, p.Pending.Bytes)
		}
		return
	}
	l.mu.Lock()
	idle := l.done || l.left || time.Now().Before(l.next)
	l.mu.Unlock()
	if idle {
		return
	}
	call, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	next, err := l.o.Retry, error(nil)
	goes := l.going()
	if !goes {
		_, goes, err = l.Notice(call)
	}
	if goes {
		next, err = l.beat(call, p)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.next = time.Now().Add(next)
	if err != nil && ctx.Err() == nil && time.Since(l.warned) > time.Minute {
		l.warned = time.Now()
		l.log.Warn("asg: cannot send the heartbeat of the termination hook; will retry, and the group ends the instance if none arrives in time: check network and permissions (autoscaling:RecordLifecycleActionHeartbeat)", "err", err, "again_in", next)
	}
}

func (l *Lifecycle) going() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.goes
}

// beat sends a heartbeat, and returns when the next one is due.
func (l *Lifecycle) beat(ctx context.Context, p drain.Status) (time.Duration, error) {
	l.mu.Lock()
	a, h, first := l.action, l.hook, l.first
	l.mu.Unlock()
	if a.Hook == "" {
		var err error
		if a, h, _, err = l.find(ctx); err != nil {
			return l.o.Retry, err
		}
		l.mu.Lock()
		l.action, l.hook = a, h
		l.mu.Unlock()
	}
	_, service, _, err := l.link.get(ctx)
	if err == nil {
		err = service.Answer(ctx, a, Heartbeat)
	}
	switch {
	case errors.Is(err, ErrNoAction):
		return l.o.Retry, nil // the action begins when the instance is deregistered from its load balancers
	case err != nil:
		return min(l.o.Retry, h.Heartbeat/12), err
	}
	if first.IsZero() {
		first = time.Now()
		l.mu.Lock()
		l.first = first
		l.mu.Unlock()
	}
	if left := h.Global - time.Since(first); h.Global > 0 && (p.ETA > left || p.ETA < 0 && left < h.Heartbeat) {
		l.log.Error("asg: the drain needs more time than the hook allows; what is not delivered by then stays on the volume if the group keeps it: raise the hook's global time-out, or lift limits", "eta", p.ETA, "left", left, "pending_bytes", p.Pending.Bytes)
	}
	// A random interval from a quarter to a third of the timeout: instances that are terminated together do not call at
	// the same moment.
	return time.Duration((0.25 + rand.Float64()/12) * float64(h.Heartbeat)), nil
}
