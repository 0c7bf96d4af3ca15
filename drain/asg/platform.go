package asg

import (
	"context"
	"errors"
	"time"
)

// Metadata is the instance metadata service.
type Metadata interface {
	// Get returns the value of a path below /latest/meta-data/; fs.ErrNotExist if there is none.
	Get(ctx context.Context, path string) (string, error)
}

// Service is the part of the EC2 Auto Scaling API that a Lifecycle needs. Its errors are those of the API, except for
// ErrNoAction.
type Service interface {
	// Instance returns the zero value for an instance that is in no group.
	Instance(ctx context.Context, id string) (Instance, error)
	Settings(ctx context.Context, group string) (Settings, error)
	// Answer sends a heartbeat or completes the action; ErrNoAction if no action waits.
	Answer(ctx context.Context, a Action, answer Answer) error
}

// Protector is a Service that can protect an instance from scale-in, and end that protection (SetInstanceProtection).
// Options.ProtectAbove needs one; the Services of the AWS SDK and of draintest are Protectors.
type Protector interface {
	Protect(ctx context.Context, group, instance string, on bool) error
}

// Instance is the state of an instance in its group.
type Instance struct {
	Group string
	// State is as in the API: "InService", "Terminating:Wait", …
	State string
}

// Settings are the settings of a group that affect a drain.
type Settings struct {
	// Hooks of the transition autoscaling:EC2_INSTANCE_TERMINATING.
	Hooks []Hook
	// Retain means that an instance whose termination hook is abandoned stays in Terminating:Retained.
	Retain bool
}

// Hook is a termination hook.
type Hook struct {
	Name          string
	DefaultResult Answer
	// Heartbeat is the time without a heartbeat after which DefaultResult applies, Global the time after which it applies
	// in any case.
	Heartbeat, Global time.Duration
}

// Action is the lifecycle action of one instance.
type Action struct{ Group, Hook, Instance string }

// Answer is an answer to a lifecycle hook.
type Answer string

// The answers.
const (
	Heartbeat Answer = "HEARTBEAT"
	Continue  Answer = "CONTINUE"
	Abandon   Answer = "ABANDON"
)

// ErrNoAction means that no lifecycle action of this instance waits for an answer: not yet, or not any more.
var ErrNoAction = errors.New("asg: no active lifecycle action")
