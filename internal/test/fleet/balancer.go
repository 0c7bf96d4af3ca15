//go:build linux

package fleet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// buckets is into how many parts a balancer hashes the flows.
const buckets = 1024

// Balancer is a network load balancer of one protocol and one side. It decides by health which targets get new flows, as those
// of AWS do; its engine moves the packets.
//
//   - A flow is hashed by its addresses and ports. A flow that a target has stays there until the flow has been idle for
//     rules.Idle, whatever becomes of the hash.
//   - A target that fails its health checks gets no new flow, and its flows are ended.
//   - A target that is deregistered gets no new flow. It keeps its flows for rules.Deregistration. Then those of UDP are ended, and
//     those of TCP are not, as the templates set it.
//   - If every target is unhealthy, all are used.
type Balancer struct {
	name   string
	class  string // whose readiness is asked for
	ns     *Namespace
	addr   netip.AddrPort
	port   uint16 // of the targets
	rules  rules
	engine engine
	log    func(format string, args ...any)
	client *http.Client

	mu      sync.Mutex
	targets map[netip.Addr]*target
	used    []netip.Addr // get new flows, sorted
	changes int

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// rules are the times of the platform. unscaled has AWS' own.
type rules struct {
	Scale          float64 // the times of AWS divided by this
	Idle           time.Duration
	Check          time.Duration // between two health checks
	Threshold      int           // so many results change the health
	Deregistration time.Duration
	Heartbeat      time.Duration // of the lifecycle hook
	Quiesce        time.Duration // of the collectors: longer than Idle
	Drain          time.Duration // of the collectors: longer than Quiesce, which precedes it
}

// unscaled are the times of AWS, with a deregistration delay of 120 s.
var unscaled = rules{
	Scale: 1, Idle: 120 * time.Second, Check: 10 * time.Second, Threshold: 3, Deregistration: 120 * time.Second,
	Heartbeat: 1800 * time.Second, Quiesce: 130 * time.Second, Drain: 480 * time.Second,
}

// by divides the times. A health check each half second is the most that makes sense.
func (r rules) by(scale float64) rules {
	div := func(d time.Duration, least time.Duration) time.Duration {
		return max(time.Duration(float64(d)/scale), least)
	}
	quiesce := div(r.Quiesce, 2500*time.Millisecond)
	return rules{
		Scale: scale, Idle: div(r.Idle, 2*time.Second), Check: div(r.Check, time.Second/2), Threshold: r.Threshold,
		Deregistration: div(r.Deregistration, 2*time.Second), Heartbeat: div(r.Heartbeat, 30*time.Second), Quiesce: quiesce,
		Drain: div(r.Drain, quiesce+18*time.Second),
	}
}

// engine moves packets or connections to targets.
type engine interface {
	// use gives new flows to these targets, and leaves the others where they are.
	use(targets []netip.Addr) error
	// end ends the flows of a target that is unhealthy, or deregistered since a while.
	end(target netip.Addr, healthy bool) error
	// close ends the engine.
	close() error
}

// target is a server as one balancer sees it.
type target struct {
	healthy  bool
	results  int       // in a row that contradict healthy
	draining time.Time // when its flows are ended; zero: not deregistered
}

// start begins to check targets.
func (b *Balancer) start() error {
	b.targets = map[netip.Addr]*target{}
	// Long enough for a busy machine, on which all servers share the cores.
	b.client = &http.Client{Timeout: max(b.rules.Check, 1500*time.Millisecond), Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return b.ns.Dial(ctx, network, addr)
		},
	}}
	if err := b.engine.use(nil); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cancel = cancel
	b.wg.Go(func() {
		tick := time.NewTicker(b.rules.Check)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				b.round(ctx)
			}
		}
	})
	return nil
}

// stop ends the checks and the engine.
func (b *Balancer) stop() error {
	b.cancel()
	b.wg.Wait()
	return b.engine.close()
}

// Register adds a target. It gets flows when its first check succeeds.
func (b *Balancer) Register(addr netip.Addr) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.targets[addr] = &target{results: b.rules.Threshold - 1}
}

// Deregister takes a target away. See Balancer.
func (b *Balancer) Deregister(addr netip.Addr) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.targets[addr]; t != nil && t.draining.IsZero() {
		t.draining = time.Now().Add(b.rules.Deregistration)
	}
	return b.apply()
}

// Using lists the targets that get new flows.
func (b *Balancer) Using() []netip.Addr {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.used)
}

// round checks every target once, and removes draining targets whose time is over, with their flows.
func (b *Balancer) round(ctx context.Context) {
	b.mu.Lock()
	var ask []netip.Addr
	for addr, t := range b.targets {
		if t.draining.IsZero() {
			ask = append(ask, addr)
		}
	}
	b.mu.Unlock()
	answers := make([]error, len(ask))
	var wg sync.WaitGroup
	for i, addr := range ask {
		wg.Go(func() { answers[i] = b.ready(ctx, addr) })
	}
	wg.Wait()
	if ctx.Err() != nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, addr := range ask {
		b.judge(addr, answers[i])
	}
	if err := b.apply(); err != nil {
		b.log("balancer %s: %v", b.name, err)
	}
	for addr, t := range b.targets {
		if !t.draining.IsZero() && time.Now().After(t.draining) {
			delete(b.targets, addr)
			b.endFlows(addr, true)
		}
	}
}

// judge counts one answer of a target. b.mu is held.
func (b *Balancer) judge(addr netip.Addr, answer error) {
	t := b.targets[addr]
	if t == nil {
		return
	}
	if t.healthy == (answer == nil) {
		t.results = 0
		return
	}
	if t.results++; t.results < b.rules.Threshold {
		return
	}
	t.healthy, t.results = !t.healthy, 0
	if !t.healthy {
		b.log("balancer %s: %v is unhealthy: %v", b.name, addr, answer)
		if len(b.targets) > 1 {
			defer b.endFlows(addr, false)
		}
	}
}

// endFlows ends the flows of a target once the others get the new ones. b.mu is held.
func (b *Balancer) endFlows(addr netip.Addr, healthy bool) {
	if err := errors.Join(b.apply(), b.engine.end(addr, healthy)); err != nil {
		b.log("balancer %s: end the flows of %v: %v", b.name, addr, err)
	}
}

// apply gives the targets to the engine if they have changed. b.mu is held.
func (b *Balancer) apply() error {
	var healthy, all []netip.Addr
	for addr, t := range b.targets {
		if !t.draining.IsZero() {
			continue
		}
		all = append(all, addr)
		if t.healthy {
			healthy = append(healthy, addr)
		}
	}
	if len(healthy) == 0 && len(b.used) > 0 { // fail open; a group that has just begun has nobody to open for
		healthy = all
	}
	slices.SortFunc(healthy, netip.Addr.Compare)
	if slices.Equal(healthy, b.used) {
		return nil
	}
	b.used = healthy
	b.changes++
	return b.engine.use(healthy)
}

// ready asks a target for its health.
func (b *Balancer) ready(ctx context.Context, addr netip.Addr) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%v:%d/readyz/%s", addr, statusPort, b.class), nil)
	if err != nil {
		return err
	}
	resp, err := b.client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New(resp.Status)
	}
	return nil
}

// usesAll is nil once a balancer gives new flows to n targets.
func usesAll(b *Balancer, n int) error {
	if got := len(b.Using()); got != n {
		return fmt.Errorf("balancer %s uses %d targets, not %d", b.name, got, n)
	}
	return nil
}
