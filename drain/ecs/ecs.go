package ecs

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/internal/backlog"
	"github.com/penstock-go/penstock/internal/steadylog"
)

// MaxStopTimeout is the longest stopTimeout of a container that Fargate allows.
const MaxStopTimeout = 120 * time.Second

// DefaultStopTimeout is a container's stopTimeout if the task definition has none.
const DefaultStopTimeout = 30 * time.Second

// Options configure a Lifecycle. The zero value of every field means its documented default.
type Options struct {
	// Agent is the URL of the container agent; default the environment's ECS_AGENT_URI.
	Agent string
	// ProtectAbove is how many payload bytes, summed over classes and destinations, can be delivered within stopTimeout.
	// With more to deliver, the task is protected until only half as many are left. Default 0: the task is protected from
	// the first byte to the last, so ECS never chooses a task that always has traffic.
	ProtectAbove int64
	// Expires is how long the protection holds without being renewed, in minutes from 1 to 2880; default 2 h. It is renewed
	// after half of that time, and ends by itself if the process has died.
	Expires time.Duration
	// Client makes the calls; default one without a proxy, since the agent is at the task's own link-local address.
	Client *http.Client
	// Logger; nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var d Options
	if o != nil {
		d = *o
	}
	if d.Agent == "" {
		d.Agent = os.Getenv("ECS_AGENT_URI")
	}
	if d.Expires == 0 {
		d.Expires = 2 * time.Hour
	}
	if d.Client == nil {
		d.Client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	}
	d.Logger = steadylog.Wrap(d.Logger)
	return d
}

func (o *Options) validate() error {
	var errs []error
	if !strings.HasPrefix(o.Agent, "http://") && !strings.HasPrefix(o.Agent, "https://") {
		errs = append(errs, fmt.Errorf("ecs: the agent's URL is %q: ECS sets ECS_AGENT_URI in its containers; is this one?", o.Agent))
	}
	if o.ProtectAbove < 0 {
		errs = append(errs, errors.New("ecs: Options.ProtectAbove must not be negative"))
	}
	if o.Expires < time.Minute || o.Expires > 2880*time.Minute {
		errs = append(errs, fmt.Errorf("ecs: Options.Expires is %v: from 1 minute to 48 hours", o.Expires))
	}
	return errors.Join(errs...)
}

// OnECS reports whether this process runs in a container of an ECS task.
func OnECS() bool { return os.Getenv("ECS_AGENT_URI") != "" }

// Lifecycle is a drain.Lifecycle.
type Lifecycle struct {
	o   Options
	log *slog.Logger

	mu      sync.Mutex // one call at a time: Update goes on while Finish is called
	done    bool       // Finish was called: Update does nothing any more
	on, set bool       // on: the last value of the task's protection; set: it was set
	next    time.Time  // when it is to be renewed, or tried again
	failed  int        // attempts since the last good one
	warned  time.Time
}

var _ drain.Lifecycle = (*Lifecycle)(nil)

// New returns a Lifecycle. It makes no request yet.
func New(o *Options) (*Lifecycle, error) {
	opts := o.withDefaults()
	if err := opts.validate(); err != nil {
		return nil, err
	}
	return &Lifecycle{o: opts, log: opts.Logger}, nil
}

// Notice implements drain.Lifecycle: ECS gives its notice by SIGTERM.
func (l *Lifecycle) Notice(context.Context) (drain.Notice, bool, error) {
	return drain.Notice{}, false, nil
}

// Update implements drain.Lifecycle: it protects the task while there is a backlog, and during an end that ECS has not
// begun.
func (l *Lifecycle) Update(ctx context.Context, p drain.Status) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.done {
		return
	}
	on := p.Phase != drain.PhaseRun || backlog.Large(l.on, p.Pending.Bytes, uint64(l.o.ProtectAbove))
	switch early := time.Now().Before(l.next); {
	case early && (l.failed > 0 || on == l.on): // pause after a failure; a protection lasts for a while
	case l.set && !l.on && !on: // a protection that is off is not renewed
	default:
		_ = l.protect(ctx, on) // logged, and retried
	}
}

// Finish implements drain.Lifecycle: it ends the protection of a task that has delivered everything. Any other task keeps
// its protection, which ends by itself.
func (l *Lifecycle) Finish(ctx context.Context, r *drain.Report) (retained bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.done = true
	if r.Outcome != drain.Delivered || l.set && !l.on {
		return false, nil
	}
	return false, l.protect(ctx, false)
}

// protect calls the agent, and notes when to call it again.
func (l *Lifecycle) protect(ctx context.Context, on bool) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	err := l.call(ctx, on)
	if err == nil {
		if !l.set || l.on != on {
			l.log.Info("ecs: task scale-in protection", "on", on)
		}
		l.on, l.set, l.failed, l.next = on, true, 0, time.Now().Add(l.o.Expires/2)
		return nil
	}
	wait := min(retryFirst<<min(l.failed, 10), retryMost, l.o.Expires/12)
	l.failed++
	l.next = time.Now().Add(wait)
	if time.Since(l.warned) > 10*time.Minute {
		l.warned = time.Now()
		l.log.Warn("ecs: task scale-in protection cannot be changed; will retry, and meanwhile ECS may choose this task: check the permissions of the task role (ecs:UpdateTaskProtection)", "on", on, "again_in", wait, "err", err)
	}
	return err
}

const (
	callTimeout = 10 * time.Second
	retryFirst  = 5 * time.Second
	retryMost   = 2 * time.Minute
)
