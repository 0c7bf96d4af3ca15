package draintest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain/asg"
)

// GroupOptions configure a Group. The zero value of every field means its documented default.
type GroupOptions struct {
	Name string // default "group"
	// Region is where its instances are; default "us-east-1". ServeHTTP takes the region of a request from its signature,
	// and finds no instance in another region.
	Region string
	Hook   string // of the transition EC2_INSTANCE_TERMINATING; default "drain", "-" for none
	// HeartbeatTimeout and GlobalTimeout as in the API; default 30 minutes, and 100 times that, at most 48 h.
	HeartbeatTimeout, GlobalTimeout time.Duration
	DefaultResult                   asg.Answer // default ABANDON
	// Terminate omits the policy that retains instances whose hook is abandoned.
	Terminate bool
	// Deregistration is how long an instance stays in Terminating, where the hook has no action yet; default 0.
	Deregistration time.Duration
	// Fault, if not nil, is called before each call of the API and of the metadata, which fails with its error. op is
	// "Instance", "Settings", "Protect", the answer, or the path of the metadata. Fault must not call the Group.
	Fault func(op string) error
}

// Group is an Auto Scaling group. All methods may be called from any goroutine.
type Group struct {
	o GroupOptions

	mu        sync.Mutex
	instances map[string]*Instance
}

var (
	_ asg.Service   = (*Group)(nil)
	_ asg.Protector = (*Group)(nil)
	_ asg.Metadata  = (*Instance)(nil)
)

// NewGroup returns a Group without instances.
func NewGroup(o *GroupOptions) *Group {
	g := &Group{instances: map[string]*Instance{}}
	if o != nil {
		g.o = *o
	}
	if g.o.Name == "" {
		g.o.Name = "group"
	}
	if g.o.Region == "" {
		g.o.Region = "us-east-1"
	}
	if g.o.Hook == "" {
		g.o.Hook = "drain"
	}
	if g.o.HeartbeatTimeout == 0 {
		g.o.HeartbeatTimeout = 30 * time.Minute
	}
	if g.o.GlobalTimeout == 0 {
		g.o.GlobalTimeout = min(100*g.o.HeartbeatTimeout, 48*time.Hour)
	}
	if g.o.DefaultResult == "" {
		g.o.DefaultResult = asg.Abandon
	}
	return g
}

// Launch adds an instance that is InService.
func (g *Group) Launch() *Instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := &Instance{g: g, id: fmt.Sprintf("i-%017x", len(g.instances)+1), state: "InService", meta: map[string]string{}}
	i.meta["instance-id"] = i.id
	i.meta["placement/region"] = g.o.Region
	i.meta["autoscaling/target-lifecycle-state"] = "InService"
	g.instances[i.id] = i
	return i
}

// ScaleIn terminates the oldest instance in service that is not protected, and returns it; nil if the group has none.
func (g *Group) ScaleIn() *Instance {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(g.instances)) {
		if i := g.instances[id]; i.now() == "InService" && !i.protected {
			i.terminate()
			return i
		}
	}
	return nil
}

// Protect implements asg.Protector. As in the API, only instances in service can be protected.
func (g *Group) Protect(ctx context.Context, group, id string, on bool) error {
	if err := g.call(ctx, "Protect"); err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.instances[id]
	if i == nil || group != g.o.Name || i.now() != "InService" {
		return fmt.Errorf("draintest: the instance %s is not in InService", id)
	}
	i.protected = on
	return nil
}

// Instance implements asg.Service.
func (g *Group) Instance(ctx context.Context, id string) (asg.Instance, error) {
	if err := g.call(ctx, "Instance"); err != nil {
		return asg.Instance{}, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.instances[id]
	if i == nil || i.now() == "Terminated" {
		return asg.Instance{}, nil
	}
	return asg.Instance{Group: g.o.Name, State: i.state}, nil
}

// Settings implements asg.Service.
func (g *Group) Settings(ctx context.Context, group string) (asg.Settings, error) {
	if err := g.call(ctx, "Settings"); err != nil {
		return asg.Settings{}, err
	}
	st := asg.Settings{Retain: !g.o.Terminate}
	if g.o.Hook != "-" {
		st.Hooks = []asg.Hook{{Name: g.o.Hook, DefaultResult: g.o.DefaultResult, Heartbeat: g.o.HeartbeatTimeout, Global: g.o.GlobalTimeout}}
	}
	return st, nil
}

// Answer implements asg.Service.
func (g *Group) Answer(ctx context.Context, a asg.Action, answer asg.Answer) error {
	err := g.call(ctx, string(answer))
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.instances[a.Instance]
	if err == nil && (i == nil || a.Group != g.o.Name || a.Hook != g.o.Hook || i.now() != "Terminating:Wait") {
		err = fmt.Errorf("%w: No active Lifecycle Action found with instance ID %s", asg.ErrNoAction, a.Instance)
	}
	if i != nil {
		i.calls = append(i.calls, Call{time.Now(), answer, err})
	}
	if err != nil {
		return err
	}
	if answer == asg.Heartbeat {
		i.expires = time.Now().Add(g.o.HeartbeatTimeout)
	} else {
		i.end(time.Now(), answer)
	}
	return nil
}

func (g *Group) call(ctx context.Context, op string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if g.o.Fault == nil {
		return nil
	}
	return g.o.Fault(op)
}

// Call is one call of Answer.
type Call struct {
	Time   time.Time
	Answer asg.Answer
	Err    error // why it was refused; nil if it was accepted
}

// Calls returns the answers so far, including refused ones.
func (i *Instance) Calls() []Call {
	i.g.mu.Lock()
	defer i.g.mu.Unlock()
	return slices.Clone(i.calls)
}
