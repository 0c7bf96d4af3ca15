package main

import (
	"fmt"
	"log/slog"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/drain/asg"
)

// lifecycles returns the platforms that take part in the end of this process. systemd does whenever it is there: a unit
// with Type=notify waits for it.
func lifecycles(c *config, log *slog.Logger) ([]drain.Lifecycle, error) {
	all := []drain.Lifecycle{drain.Systemd(log)}
	if c.lifecycle == "asg" || c.lifecycle == "auto" && asg.OnEC2() {
		l, err := asg.New(&asg.Options{Hook: c.asgHook, Timeout: c.drainTimeout, StallTimeout: stallTimeout, Logger: log})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errFlags, err)
		}
		all = append(all, l)
	}
	return all, nil
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
