package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/ecs"
	"github.com/penstock-go/penstock/drain/kube"
	"github.com/penstock-go/penstock/examples/internal/cli"
)

// platform is a platform that may take this instance away.
type platform struct {
	name string
	// here reports whether the environment shows that this process runs on the platform.
	here func() bool
	// grace is the default of -grace.
	grace time.Duration
	// takesDisk: the disk may be deleted with the container, so that a signal drains by default.
	takesDisk bool
	// check returns what is wrong with the flags; nil if nothing can be wrong. auto: the platform was detected, not set by the
	// user.
	check func(c *config, auto bool) error
	// open returns the platform's part in the end of this process; nil if the platform has none.
	open func(c *config, log *slog.Logger) (drain.Lifecycle, error)
}

// platforms are the values of -lifecycle, in the order in which auto checks them. Container platforms come first: the metadata
// of the EC2 instance that runs a container describe that instance, and not the container.
var platforms = []platform{
	{
		name: "kube", here: kube.InCluster, takesDisk: true,
		grace: 30 * time.Second, // for a pod that does not set terminationGracePeriodSeconds
		check: func(c *config, auto bool) error {
			if c.http == "" && !auto {
				return errors.New("needs -http for readiness and the preStop hook")
			}
			return nil
		},
		open: func(c *config, log *slog.Logger) (drain.Lifecycle, error) {
			return kube.New(&kube.Options{Dir: c.spoolDir, Logger: log}), nil
		},
	},
	{
		name: "ecs", here: ecs.OnECS, takesDisk: true, grace: ecs.DefaultStopTimeout,
		check: func(c *config, _ bool) error {
			if c.grace > ecs.MaxStopTimeout && os.Getenv("AWS_EXECUTION_ENV") == "AWS_ECS_FARGATE" {
				return fmt.Errorf("-grace %v: Fargate allows a stopTimeout of %v at most", c.grace, ecs.MaxStopTimeout)
			}
			return nil
		},
		open: func(c *config, log *slog.Logger) (drain.Lifecycle, error) {
			return ecs.New(&ecs.Options{ProtectAbove: c.protectAbove, Logger: log})
		},
	},
	{
		name: "asg", here: asg.OnEC2,
		open: func(c *config, log *slog.Logger) (drain.Lifecycle, error) {
			return asg.New(&asg.Options{
				Hook: c.asgHook, Dir: c.spoolDir, Timeout: c.drainTimeout, StallTimeout: stallTimeout, ProtectAbove: c.protectAbove, Logger: log,
			})
		},
	},
	{name: "none", here: func() bool { return true }},
}

// auto is the value of -lifecycle that detects the platform.
const auto = "auto"

// platformNames lists the values of -lifecycle.
func platformNames() []string {
	names := []string{auto}
	for _, p := range platforms {
		names = append(names, p.name)
	}
	return names
}

// choosePlatform resolves -lifecycle auto, checks the flags that depend on the platform, and fills in their defaults.
func (c *config) choosePlatform(f *cli.Set) {
	detect := c.lifecycle == auto
	i := slices.IndexFunc(platforms, func(p platform) bool { return p.name == c.lifecycle || detect && p.here() })
	if i < 0 {
		f.Bad("lifecycle", "", "%q: use %s", c.lifecycle, cli.OneOf(platformNames()))
		return
	}
	p := platforms[i]
	c.lifecycle = p.name
	if c.grace == 0 {
		c.grace = p.grace
	}
	if c.onTerm == "" && p.takesDisk {
		c.onTerm = drain.Drain
	}
	if c.onTerm == "" {
		c.onTerm = drain.Stop
	}
	if c.asgHook != "" && p.name != "asg" && !detect {
		f.Bad("asg-hook", "", "-lifecycle %s asks no group", p.name)
	}
	if p.check != nil {
		if err := p.check(c, detect); err != nil {
			f.Bad("lifecycle", "", "%s: %w", p.name, err)
		}
	}
}

// graces lists the platforms that have a default for -grace.
func graces() string {
	var all []string
	for _, p := range platforms {
		if p.grace > 0 {
			all = append(all, fmt.Sprintf("%v with -lifecycle %s", p.grace, p.name))
		}
	}
	return strings.Join(all, ", ")
}

// lifecycles returns the platforms that take part in the end of this process, and the preStop endpoint if there is one. systemd
// always takes part, because a unit with Type=notify waits for its notifications.
func lifecycles(c *config, log *slog.Logger) (all []drain.Lifecycle, preStop http.Handler, err error) {
	all = []drain.Lifecycle{drain.Systemd(log)}
	for _, p := range platforms {
		if p.name != c.lifecycle || p.open == nil {
			continue
		}
		l, err := p.open(c, log)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: %w", errFlags, err)
		}
		preStop, _ = l.(http.Handler) // that of Kubernetes is its preStop endpoint
		all = append(all, l)
	}
	return all, preStop, nil
}

// tellPreStop tells the collector at addr that its pod is being deleted. The pod's preStop hook runs it.
func tellPreStop(addr string) error {
	url, err := kube.PreStopURL(addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return kube.PreStop(ctx, url)
}
