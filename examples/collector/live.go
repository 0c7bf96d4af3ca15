package main

import (
	"maps"
	"sync"

	"github.com/penstock-go/penstock/ship"
)

// live is what a reload changes in the config of a running service. Its mutex also guards config.dests and config.limits from the
// start of the service on.
type live struct {
	mu       sync.Mutex
	limiters map[string]*ship.Limiter
}

// unlimited is the rate of a Limiter for uploads without -limit: it is there so that a limit can be set later.
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

// limitsOf returns the limiters of a class at a destination: the one that it shares with the other classes, and its own.
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

// rate is a limit as a Limiter takes it.
func rate(limit int64) int64 {
	if limit == 0 {
		return unlimited
	}
	return limit
}

// setLimits changes the limits, also of uploads that are under way.
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
