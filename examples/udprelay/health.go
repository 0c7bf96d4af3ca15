package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"
)

// checks are the settings for checking the health of targets.
type checks struct {
	url            string // with {host}; "" means that all targets are healthy
	every, timeout time.Duration
}

// tolerated is how many checks in a row a target may leave unanswered before it is unhealthy. A negative answer counts
// immediately, so a draining target is out of use after the next check.
const tolerated = 1

// health is the known health of one target.
type health struct {
	Healthy bool      `json:"healthy"`
	Why     string    `json:"why,omitempty"` // why it is not healthy
	Since   time.Time `json:"since"`
	checked bool
	silent  int // checks in a row without an answer
}

// prober checks each target in its own goroutine.
type prober struct {
	checks
	client  *http.Client
	changed func() // called after each change

	mu     sync.Mutex
	known  map[netip.AddrPort]health
	cancel map[netip.AddrPort]context.CancelFunc
	wg     sync.WaitGroup
}

func newProber(c checks, changed func()) *prober {
	transport := &http.Transport{MaxIdleConnsPerHost: 1, IdleConnTimeout: time.Minute, DialContext: (&net.Dialer{}).DialContext}
	return &prober{
		checks: c, changed: changed, known: map[netip.AddrPort]health{}, cancel: map[netip.AddrPort]context.CancelFunc{},
		client: &http.Client{Transport: transport, Timeout: c.timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
}

// watch checks exactly these targets from now on.
func (p *prober) watch(ctx context.Context, targets []netip.AddrPort) {
	p.mu.Lock()
	defer p.mu.Unlock()
	want := map[netip.AddrPort]bool{}
	for _, t := range targets {
		want[t] = true
		if _, ok := p.known[t]; ok {
			continue
		}
		p.known[t] = health{Healthy: p.url == "", Why: "not asked yet", Since: time.Now(), checked: p.url == ""}
		if p.url != "" {
			var c context.Context
			c, p.cancel[t] = context.WithCancel(ctx)
			p.wg.Go(func() { p.ask(c, t) })
		}
	}
	for t := range p.known {
		if !want[t] {
			delete(p.known, t)
			if stop := p.cancel[t]; stop != nil {
				stop()
				delete(p.cancel, t)
			}
		}
	}
}

// stop ends all checks.
func (p *prober) stop() {
	p.watch(context.Background(), nil)
	p.wg.Wait()
	p.client.CloseIdleConnections()
}

// ask checks a target again and again until ctx ends.
func (p *prober) ask(ctx context.Context, t netip.AddrPort) {
	tick := time.NewTicker(p.every)
	defer tick.Stop()
	for {
		answered, err := p.check(ctx, t)
		if ctx.Err() != nil {
			return
		}
		p.note(t, answered, err)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// check checks a target once. answered: an error came from the target itself.
func (p *prober) check(ctx context.Context, t netip.AddrPort) (answered bool, err error) {
	host := t.Addr().String()
	if t.Addr().Is6() {
		host = "[" + strings.ReplaceAll(host, "%", "%25") + "]" // the zone of a link-local address
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.ReplaceAll(p.url, "{host}", host), nil)
	if err != nil {
		return true, withoutURL(err)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return false, withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be reused
	if resp.StatusCode != http.StatusOK {
		return true, fmt.Errorf("%s", resp.Status)
	}
	return true, nil
}

// withoutURL returns an error without the URL of the check, which may contain a token: the status page shows the error.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}

// note records the result of a check.
func (p *prober) note(t netip.AddrPort, answered bool, err error) {
	p.mu.Lock()
	h, ok := p.known[t]
	if !ok {
		p.mu.Unlock()
		return
	}
	before := h
	if h.silent++; answered {
		h.silent = 0
	}
	switch {
	case err == nil:
		h.Healthy, h.Why = true, ""
	case answered || h.silent > tolerated || !h.checked:
		h.Healthy, h.Why = false, err.Error()
	}
	h.checked = true
	if h.Healthy != before.Healthy {
		h.Since = time.Now()
	}
	p.known[t] = h
	p.mu.Unlock()
	if h.Healthy != before.Healthy || !before.checked {
		p.changed()
	}
}

// state returns the known health of a target.
func (p *prober) state(t netip.AddrPort) health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.known[t]
}
