package draintest

import (
	"context"
	"fmt"
	"io/fs"
	"time"

	"github.com/penstock-go/penstock/drain/asg"
)

// Instance is an instance of a Group. All methods may be called from any goroutine.
type Instance struct {
	g  *Group
	id string

	// Guarded by Group.mu.
	meta    map[string]string
	state   string
	waits   time.Time // when Terminating ends
	expires time.Time // when the heartbeat times out
	global  time.Time // when the group stops waiting
	gone    time.Time // when Proceed ends
	expired bool
	retain  bool // Proceed ends in Retained
	// protected from scale-in; Terminate ignores it, as a manual termination does
	protected bool
	answered  asg.Answer
	calls     []Call
}

// proceed is how long an instance stays in Terminating:Proceed before it is terminated, wrapUp before it is retained: every
// instance passes through that state, even if it is retained (Amazon EC2 Auto Scaling User Guide, "Manage retained
// instances").
const (
	proceed = 10 * time.Second
	wrapUp  = 100 * time.Millisecond
)

// ID returns the instance's id.
func (i *Instance) ID() string { return i.id }

// Terminate begins the scale-in. The metadata announces it at once, before the hook has an action.
func (i *Instance) Terminate() {
	i.g.mu.Lock()
	defer i.g.mu.Unlock()
	if i.now() == "InService" {
		i.terminate()
	}
}

// Protected reports whether the instance is protected from scale-in.
func (i *Instance) Protected() bool {
	i.g.mu.Lock()
	defer i.g.mu.Unlock()
	return i.protected
}

func (i *Instance) terminate() {
	i.state, i.waits = "Terminating", time.Now().Add(i.g.o.Deregistration)
	i.meta["autoscaling/target-lifecycle-state"] = "Terminated"
}

// Set sets a path of the metadata to a value, "" removes it.
func (i *Instance) Set(path, value string) {
	i.g.mu.Lock()
	defer i.g.mu.Unlock()
	if value == "" {
		delete(i.meta, path)
		return
	}
	i.meta[path] = value
}

// Reclaim announces a spot interruption two minutes ahead.
func (i *Instance) Reclaim() {
	i.Set("spot/instance-action", fmt.Sprintf(`{"action":"terminate","time":%q}`, time.Now().UTC().Add(2*time.Minute).Format(time.RFC3339)))
}

// State returns the state in the group's life cycle: "InService", "Terminating", "Terminating:Wait",
// "Terminating:Proceed", "Terminating:Retained" or "Terminated".
func (i *Instance) State() string {
	i.g.mu.Lock()
	defer i.g.mu.Unlock()
	return i.now()
}

// Answered returns the answer that completed the hook, "" if none has; expired means that a time-out completed it.
func (i *Instance) Answered() (answer asg.Answer, expired bool) {
	i.g.mu.Lock()
	defer i.g.mu.Unlock()
	i.now()
	return i.answered, i.expired
}

// now applies what is due. Group.mu is held.
func (i *Instance) now() string {
	now := time.Now()
	if i.state == "Terminating" && !now.Before(i.waits) {
		i.state = "Terminating:Wait"
		i.expires, i.global = i.waits.Add(i.g.o.HeartbeatTimeout), i.waits.Add(i.g.o.GlobalTimeout)
		if i.g.o.Hook == "-" {
			i.state, i.gone = "Terminating:Proceed", i.waits.Add(proceed)
		}
	}
	if i.state == "Terminating:Wait" {
		at := i.expires
		if i.global.Before(at) {
			at = i.global
		}
		if !now.Before(at) {
			i.expired = true
			i.end(at, i.g.o.DefaultResult)
		}
	}
	if i.state == "Terminating:Proceed" && !now.Before(i.gone) {
		i.state = "Terminated"
		if i.retain {
			i.state = "Terminating:Retained"
		}
	}
	return i.state
}

// end completes the hook's action.
func (i *Instance) end(at time.Time, answer asg.Answer) {
	i.answered = answer
	i.state, i.gone = "Terminating:Proceed", at.Add(proceed)
	if answer == asg.Abandon && !i.g.o.Terminate {
		i.retain, i.gone = true, at.Add(wrapUp)
	}
}

// Get implements asg.Metadata.
func (i *Instance) Get(ctx context.Context, path string) (string, error) {
	if err := i.g.call(ctx, path); err != nil {
		return "", err
	}
	i.g.mu.Lock()
	defer i.g.mu.Unlock()
	if v, ok := i.meta[path]; ok {
		return v, nil
	}
	return "", fmt.Errorf("draintest: metadata %s: %w", path, fs.ErrNotExist)
}
