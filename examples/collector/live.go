package main

import (
	"maps"
	"sync"

	"github.com/penstock-go/penstock/ship"
)

// live holds the settings that a reload changes while the service runs. Once the service has started, its mutex also guards
// config.dests and config.limits.
type live struct {
	mu       sync.Mutex
	limiters map[string]*ship.Limiter
}

// unlimited is the rate of a Limiter for uploads without -limit: the Limiter exists so that a limit can be set later.
const unlimited = 1 << 62

// destinations returns the URLs of the destinations, by name.
func (c *config) destinations() map[string]string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.dests)
}

// setDestination adds or changes a destination.
func (c *config) setDestination(name, url string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dests[name] = url
}

// limitsOf returns the limiters of a class at a destination: the one that the class shares with the other classes, and its own.
func (c *config) limitsOf(dest, class string) (all []*ship.Limiter) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.limiters == nil {
		c.limiters = map[string]*ship.Limiter{}
	}
	for _, of := range []string{dest, dest + "/" + class} {
		if c.limiters[of] == nil {
			c.limiters[of] = ship.NewLimiter(rate(c.limits[of]))
		}
		all = append(all, c.limiters[of])
	}
	return all
}

// rate converts a -limit, where 0 means no limit, to the rate of a Limiter.
func rate(limit int64) int64 {
	if limit == 0 {
		return unlimited
	}
	return limit
}

// setLimits changes the limits, also for uploads in progress.
func (c *config) setLimits(limits map[string]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.limits = limits
	for of, l := range c.limiters {
		l.SetRate(rate(limits[of]))
	}
}

// currentLimits returns the limits.
func (c *config) currentLimits() map[string]int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.limits
}
