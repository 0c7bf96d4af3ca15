//go:build linux

package fleet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Run is one run of the scenario.
type Run struct {
	*Stage
	form  Form
	plan  *Plan
	watch *Watch
	feeds []*Feed
	probe *Probe
	// events counts what has happened; every one must have.
	events map[string]int
	// quiet and flooded are the times in which the isolated class is compared with itself.
	quiet, flooded [2]time.Time
	begun, stopped time.Time // of the sources
	rates          rates
	machine        *Probe    // how long the machine takes to sync a record meanwhile
	ended          time.Time // of the scenario, before the verdict
	// Recovered is the time from the death of a server until an adopter had verified its last record at both destinations.
	Recovered time.Duration
}

// wanted is how often each event must happen.
var wanted = map[string]int{
	"burst": 3, "launch": 11, "ramp": 1, "scale-out": 1, "flood": 1, "kill": 1, "adopt": 1, "outage": 1, "upgrade": 10, "scale-in": 10, "retain": 1, "finish retained": 1,
	"relay restart": 2, "relay list broken": 2, "relay drop": 2,
}

// happened counts an event and marks it.
func (r *Run) happened(event, format string, args ...any) {
	r.events[event]++
	notable := true
	switch event {
	case "launch", "scale-in", "relay list broken":
		notable = false // there is another mark at that time
	case "upgrade", "relay restart", "relay drop":
		notable = r.events[event] == 1 // one line for all that happen together
	}
	r.watch.mark(fmt.Sprintf(format, args...), notable)
	r.Logf("%6.1f s %s", time.Since(r.began).Seconds(), fmt.Sprintf(format, args...))
}

// play makes all events happen. The verdict comes afterwards.
func (r *Run) play(ctx context.Context) error {
	load, stop := context.WithCancel(ctx)
	defer stop()
	watching, blind := context.WithCancel(ctx)
	defer blind()
	var wg sync.WaitGroup
	wg.Go(func() { r.watch.run(watching, max(time.Second, r.form.Unit/5)) })
	if err := r.launch(5); err != nil {
		return err
	}
	wait, err := r.send(load)
	if err != nil {
		return err
	}
	wg.Go(func() { r.rates.watch(watching, r.datagrams) })
	steps := []func(context.Context) error{r.ramp, r.scaleOut, r.flood, r.kill, r.outage, r.upgrade, r.relays, r.hold, r.scaleIn, r.linger}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	stop()
	r.stopped = time.Now()
	if err := wait(); err != nil {
		return err
	}
	r.watch.mark("the sources end", true)
	r.countBursts()
	if err := r.leave(r.in(Serving)); err != nil {
		return err
	}
	blind()
	wg.Wait()
	r.ended = time.Now()
	return nil
}

// countBursts counts the bursts that every source of datagrams of the class main has taken part in: a flood suppresses bursts.
func (r *Run) countBursts() {
	for i := range r.plan.Bursts {
		all := true
		for _, f := range r.feeds {
			all = all && (len(f.burst) == 0 || !isUDP(f.Run) || f.burst[i].Load())
		}
		if all {
			r.events["burst"]++
		}
	}
}

// launch adds servers at the same time, and waits until every balancer uses them.
func (r *Run) launch(n int) error {
	errs := make([]error, n)
	for i := range n {
		srv, err := r.Launch()
		if errs[i] = err; err == nil {
			r.happened("launch", "%v serves", srv)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return r.used()
}

// used waits until the balancers use exactly the servers that serve.
func (r *Run) used() error {
	n := len(r.in(Serving))
	for _, b := range r.balancers {
		if err := until(r.patience(), func() error { return usesAll(b, n) }); err != nil {
			return err
		}
	}
	return until(r.patience(), func() error { return r.spray.usesAll(n) })
}

// patience is how long a change of targets may take.
func (r *Run) patience() time.Duration {
	return max(20*time.Second, 6*time.Duration(r.Rules.Threshold)*r.Rules.Check)
}

// send starts all sources. wait returns when they have ended.
func (r *Run) send(ctx context.Context) (wait func() error, err error) {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for i, f := range fronts {
		to, seed := r.entry(f.name), r.plan.Seed*100+uint64(i)
		if f.name == "relp-apart" {
			if r.probe, err = newProbe(f.name, r.clients[f.side], to, seed); err != nil {
				return nil, err
			}
			wg.Go(func() { r.probe.Send(ctx, 10*time.Millisecond) })
			continue
		}
		feed, err := newFeed(f.name, f.class, r.clients[f.side], to, seed, r.plan.Shares[f.name])
		if err != nil {
			return nil, err
		}
		feed.churn, feed.fixed = r.plan.Churn, 1
		if f.tcp {
			feed.doubt = r.front(f.name).engine.(*tcpEngine).doubt
		}
		if f.class == "main" {
			feed.bursts, feed.burst = r.plan.Bursts, make([]atomic.Bool, len(r.plan.Bursts))
		}
		r.feeds = append(r.feeds, feed)
		wg.Go(func() {
			err := feed.SendUDP
			if f.tcp {
				err = func(ctx context.Context) error { return feed.SendTCP(ctx, r.Rules.Deregistration/2) }
			}
			if err := err(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	r.begun = time.Now()
	r.load(0.4, 1)
	return func() error { wg.Wait(); return errors.Join(errs...) }, nil
}

// load sets the rates: a share of normal service, and another factor for the class main.
func (r *Run) load(share, main float64) {
	for _, f := range r.feeds {
		rate := float64(r.form.Rate) * share * shareOf(f.Run)
		if isUDP(f.Run) && f.Class == "main" {
			rate *= main
		}
		f.rate.Store(int64(rate))
	}
}

// pause lets time pass under load.
func (r *Run) pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

func (r *Run) ramp(ctx context.Context) error {
	r.happened("ramp", "the load rises")
	for share := 0.4; share <= 1.001; share += 0.1 {
		r.load(share*r.form.Peak, 1)
		if err := r.pause(ctx, r.form.Unit); err != nil {
			return err
		}
	}
	return nil
}

func (r *Run) scaleOut(ctx context.Context) error {
	r.happened("scale-out", "scale-out to 10 servers")
	if err := r.launch(5); err != nil {
		return err
	}
	return r.pause(ctx, 4*r.form.Unit)
}

// flood sends ten times the load of the class main, and compares that with an equally long time without it.
func (r *Run) flood(ctx context.Context) error {
	length := 6 * r.form.Unit
	measured, end := context.WithCancel(ctx)
	defer end()
	control, ended, err := r.control(measured, 10*time.Millisecond)
	if err != nil {
		return err
	}
	r.machine = control
	r.load(1, 1)
	r.quiet[0] = time.Now()
	if err := r.pause(ctx, length); err != nil {
		return err
	}
	r.quiet[1] = time.Now()
	r.happened("flood", "the class main is flooded at ten times its rate")
	for _, f := range r.feeds {
		f.noBursts.Store(true)
	}
	r.load(1, r.plan.Flood)
	r.flooded[0] = time.Now()
	err = r.pause(ctx, length)
	r.flooded[1] = time.Now()
	end()
	err = errors.Join(err, ended())
	r.load(r.form.Peak, 1)
	for _, f := range r.feeds {
		f.noBursts.Store(false)
	}
	r.watch.mark("the flood ends", true)
	return errors.Join(err, r.pause(ctx, 2*r.form.Unit))
}

// kill kills a server, lets another adopt its volume, and replaces it.
func (r *Run) kill(ctx context.Context) error {
	all := r.all()
	victim, adopter := all[r.plan.Victim], all[r.plan.Adopter]
	dead := time.Now()
	if err := r.Kill(victim); err != nil {
		return err
	}
	r.happened("kill", "%v is killed", victim)
	mount := filepath.Join(adopter.dir, "adopt", victim.volume.name)
	if err := victim.volume.Attach(mount); err != nil {
		return err
	}
	r.watch.mark(fmt.Sprintf("its volume is attached to %v", adopter), false)
	if err := r.launch(1); err != nil {
		return err
	}
	err := until(3*time.Minute, func() error { return adopter.adopted(len(classes)) })
	if err != nil {
		return fmt.Errorf("%v does not adopt: %w\n%s", adopter, err, adopter.tail(30))
	}
	r.Recovered = time.Since(dead)
	if err := victim.noteAdopted(mount); err != nil {
		return err
	}
	r.happened("adopt", "%v has delivered the volume of %v", adopter, victim)
	return errors.Join(r.deregister(victim), r.spray.forget(victim.addr), victim.volume.Delete())
}

// outage cuts the line to the IDC.
func (r *Run) outage(ctx context.Context) error {
	if err := r.net.cable(r.idc.ns, "lan", false); err != nil {
		return err
	}
	r.happened("outage", "the IDC is gone for %v", r.plan.Outage.Round(time.Second))
	if err := r.pause(ctx, r.plan.Outage); err != nil {
		return err
	}
	before := r.watch.pending("idc")
	if err := r.net.cable(r.idc.ns, "lan", true); err != nil {
		return err
	}
	r.watch.mark(fmt.Sprintf("the IDC is back; it is owed %d records", before), true)
	return until(2*time.Minute, func() error {
		if now := r.watch.pending("idc"); now > before/2+uint64(5*r.form.Rate) {
			return fmt.Errorf("the IDC is owed %d records, of %d when it came back", now, before)
		}
		return nil
	})
}

// upgrade replaces the program of every server, one after another.
func (r *Run) upgrade(context.Context) error {
	serving := r.in(Serving)
	for _, i := range r.plan.Upgrade {
		srv := serving[i]
		if err := srv.upgrade(r.programs[1]); err != nil {
			return err
		}
		r.happened("upgrade", "%v is upgraded", srv)
	}
	return nil
}

// upgrade puts another program in place, and lets the collector hand over to it.
func (s *Server) upgrade(program string) error {
	if err := replaceProgram(s.program(), program); err != nil {
		return err
	}
	_, before := s.process()
	if err := s.signal(syscall.SIGUSR2); err != nil {
		return err
	}
	err := until(time.Minute, func() error {
		if _, now := s.process(); now == before {
			return fmt.Errorf("%v has not handed over\n%s", s, s.tail(20))
		}
		return s.get("/readyz", nil)
	})
	if err != nil {
		return err
	}
	return nil
}

// hold keeps the load up until the form has most of its records, of which a busy machine sends fewer, and until its time is over but for
// the scale-in.
func (r *Run) hold(ctx context.Context) error {
	scaleIn := r.Rules.Drain + r.Rules.Deregistration + r.Rules.Quiesce
	for i := 0; time.Since(r.begun)+scaleIn < r.form.Loaded || r.sent() < r.form.Records && i < 180; i++ {
		if err := r.pause(ctx, time.Second); err != nil {
			return err
		}
	}
	return nil
}

// linger waits until the sources have sent for as long as the form wants.
func (r *Run) linger(ctx context.Context) error {
	return r.pause(ctx, r.form.Loaded-time.Since(r.begun))
}

// scaleIn removes five servers. The first one cannot reach the IDC in time, is retained, and finishes later.
func (r *Run) scaleIn(ctx context.Context) error {
	r.load(r.form.Fall*r.form.Peak, 1)
	r.watch.mark("the load falls", true)
	serving := r.in(Serving)
	var leaving []*Server
	for _, i := range r.plan.Leave {
		leaving = append(leaving, serving[i])
	}
	retained := leaving[0]
	if err := r.net.cable(r.idc.ns, "lan", false); err != nil {
		return err
	}
	r.happened("scale-in", "%v leaves while the IDC is gone", retained)
	if err := r.Terminate(retained); err != nil {
		return err
	}
	if err := until(r.Rules.Drain+time.Minute, func() error {
		if st := retained.instance.State(); st != "Terminating:Retained" {
			return fmt.Errorf("%v is %s\n%s", retained, st, retained.tail(20))
		}
		return nil
	}); err != nil {
		return err
	}
	retained.reach(Retained)
	r.happened("retain", "%v is retained", retained)
	if err := r.net.cable(r.idc.ns, "lan", true); err != nil {
		return err
	}
	r.watch.mark("the IDC is back", true)
	var wg sync.WaitGroup
	var late error
	wg.Go(func() {
		if late = r.Finish(retained, 4*time.Minute); late == nil {
			r.watch.mark(fmt.Sprintf("%v has delivered the rest", retained), false)
		}
	})
	err := r.leave(leaving[1:])
	wg.Wait()
	if err = errors.Join(err, late); err == nil {
		r.happened("finish retained", "%v is gone", retained)
	}
	return err
}

// leave takes servers away at the same time, and waits for their drains.
func (r *Run) leave(servers []*Server) error {
	for _, srv := range servers {
		r.happened("scale-in", "%v leaves", srv)
		if err := r.Terminate(srv); err != nil {
			return err
		}
	}
	errs := make([]error, len(servers))
	var wg sync.WaitGroup
	for i, srv := range servers {
		wg.Go(func() { errs[i] = r.Finish(srv, r.Rules.Drain+2*time.Minute) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// adopted is nil once the collector has delivered so many spools that it has found.
func (s *Server) adopted(spools int) error {
	var list []struct{ State, Phase, Error string }
	if err := s.get("/adoptions", &list); err != nil {
		return err
	}
	done := slices.DeleteFunc(slices.Clone(list), func(a struct{ State, Phase, Error string }) bool { return a.State != "delivered" })
	if len(done) != spools {
		return fmt.Errorf("%d of %d spools are adopted: %+v", len(done), spools, list)
	}
	return nil
}
