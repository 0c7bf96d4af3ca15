package asg

import (
	"context"
	"errors"
	"time"
)

// Metadata is the instance metadata service.
type Metadata interface {
	// Get returns what is below /latest/meta-data/; fs.ErrNotExist if there is nothing.
	Get(ctx context.Context, path string) (string, error)
}

// Service is the part of the EC2 Auto Scaling API that a Lifecycle needs. Its errors are those of the API, except for
// ErrNoAction.
type Service interface {
	// Instance returns the zero value for an instance that is in no group.
	Instance(ctx context.Context, id string) (Instance, error)
	Settings(ctx context.Context, group string) (Settings, error)
	// Answer sends a heartbeat or completes the action; ErrNoAction if there is none that waits.
	Answer(ctx context.Context, a Action, answer Answer) error
}

// Protector is a Service that can keep a group from choosing an instance for a scale-in (SetInstanceProtection), and let
// it again. Options.ProtectAbove needs one; the AWS SDK's and draintest's are.
type Protector interface {
	Protect(ctx context.Context, group, instance string, on bool) error
}

// Instance is the state of an instance in its group.
type Instance struct {
	Group string
	// State as in the API: "InService", "Terminating:Wait", …
	State string
}

// Settings are the settings of a group that affect a drain.
type Settings struct {
	// Hooks of the transition autoscaling:EC2_INSTANCE_TERMINATING.
	Hooks []Hook
	// Retain: an instance whose termination hook is abandoned is left in Terminating:Retained.
	Retain bool
}

// Hook is a termination hook.
type Hook struct {
	Name          string
	DefaultResult Answer
	// Heartbeat is after how long without one the DefaultResult holds, Global after how long in any case.
	Heartbeat, Global time.Duration
}

// Action is the lifecycle action of one instance.
type Action struct{ Group, Hook, Instance string }

// Answer to a lifecycle hook.
type Answer string

// The answers.
const (
	Heartbeat Answer = "HEARTBEAT"
	Continue  Answer = "CONTINUE"
	Abandon   Answer = "ABANDON"
)

// ErrNoAction: no lifecycle action of this instance waits for an answer. It does not wait yet, or not any more.
var ErrNoAction = errors.New("asg: no active lifecycle action")
