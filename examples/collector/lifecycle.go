package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
	"github.com/penstock-go/penstock/drain/ecs"
	"github.com/penstock-go/penstock/drain/kube"
)

// platform settles which platform takes part, and what it needs of the flags. A container comes first: the metadata of the
// EC2 instance below it is about that instance, and not about the container.
func (c *config) platform(bad func(string, ...any)) {
	auto := c.lifecycle == "auto"
	switch {
	case !auto:
	case kube.InCluster():
		c.lifecycle = "kube"
	case ecs.OnECS():
		c.lifecycle = "ecs"
	case asg.OnEC2():
		c.lifecycle = "asg"
	default:
		c.lifecycle = "none"
	}
	switch c.lifecycle {
	case "asg", "none":
	case "ecs":
		c.defaultGrace(ecs.DefaultStopTimeout)
		if c.grace > ecs.MaxStopTimeout && os.Getenv("AWS_EXECUTION_ENV") == "AWS_ECS_FARGATE" {
			bad("-grace %v: Fargate allows a stopTimeout of %v at most", c.grace, ecs.MaxStopTimeout)
		}
	case "kube":
		c.defaultGrace(30 * time.Second)
		if c.http == "" && !auto {
			bad("-lifecycle kube: needs -http for readiness and the preStop hook")
		}
	default:
		bad("-lifecycle %q: auto, asg, ecs, kube or none", c.lifecycle)
	}
	if c.asgHook != "" && c.lifecycle != "asg" && !auto {
		bad("-asg-hook %s: -lifecycle %s asks no group", c.asgHook, c.lifecycle)
	}
	if c.grace < 0 {
		bad("-grace %v: must not be negative", c.grace)
	}
}

func (c *config) defaultGrace(d time.Duration) {
	if c.grace == 0 {
		c.grace = d
	}
}

// lifecycles returns the platforms that take part in the end of this process, and the preStop endpoint if there is one.
// systemd takes part whenever it is there: a unit with Type=notify waits for it.
func lifecycles(c *config, log *slog.Logger) (all []drain.Lifecycle, preStop http.Handler, err error) {
	all = []drain.Lifecycle{drain.Systemd(log)}
	var l drain.Lifecycle
	switch c.lifecycle {
	case "asg":
		l, err = asg.New(&asg.Options{
			Hook: c.asgHook, Dir: c.spoolDir, Timeout: c.drainTimeout, StallTimeout: stallTimeout, ProtectAbove: c.protectAbove, Logger: log,
		})
	case "ecs":
		l, err = ecs.New(&ecs.Options{ProtectAbove: c.protectAbove, Logger: log})
	case "kube":
		k := kube.New(&kube.Options{Dir: c.spoolDir, Logger: log})
		l, preStop = k, k
	default:
		return all, nil, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", errFlags, err)
	}
	return append(all, l), preStop, nil
}

// tellPreStop is what a preStop hook runs.
func tellPreStop(addr string) error {
	url, err := kube.PreStopURL(addr)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return kube.PreStop(ctx, url)
}

// stallTimeout ends a drain in which nothing moves.
const stallTimeout = 10 * time.Minute

// quiet is -quiesce as drain.Options have it.
func quiet(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}
