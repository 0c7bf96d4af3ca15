//go:build linux

package fleet

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestStage: two servers behind the balancers, some load, both are taken away in order, and everything is where it should be.
func TestStage(t *testing.T) {
	if !inside(t) {
		return
	}
	rules := unscaled.by(40)
	rules.Drain = time.Minute
	s, err := newStage(Setup{Rules: rules, HashSeed: 7, Line: "200mbit", VolumeBytes: 1 << 30, Spool: smallSegments, Logf: t.Logf})
	t.Cleanup(s.Close)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("the stage stands after %v", time.Since(s.began))
	for range 2 {
		if _, err := s.Launch(); err != nil {
			t.Fatal(err)
		}
	}
	for _, b := range s.balancers {
		if err := until(10*time.Second, func() error { return usesAll(b, 2) }); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("two servers after %v", time.Since(s.began))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	feeds, probe, wait := feedAll(t, s, ctx)
	<-time.After(5 * time.Second) // of load
	cancel()
	wait()
	for _, srv := range s.all() {
		if err := s.Terminate(srv); err != nil {
			t.Fatal(err)
		}
	}
	for _, srv := range s.all() {
		if err := s.Finish(srv, time.Minute); err != nil {
			t.Fatal(err)
		}
	}
	v, err := s.judge(feeds, probe)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range v.Checks {
		t.Logf("%v %s: %s", c.OK, c.What, c.Detail)
		if !c.OK {
			t.Errorf("%s: %s", c.What, c.Detail)
		}
	}
	for _, srv := range v.Servers {
		if srv.Account.Input == 0 {
			t.Errorf("server %d has received nothing", srv.Slot)
		}
	}
	mutate(t, s, feeds, probe)
}

// mutate makes the verdict wrong in several ways: each must be found.
func mutate(t *testing.T, s *Stage, feeds []*Feed, probe *Probe) {
	t.Helper()
	wrong := func(what string, checks ...string) {
		t.Helper()
		v, err := s.judge(feeds, probe)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range checks {
			if !slices.ContainsFunc(v.Checks, func(c Check) bool { return !c.OK && strings.Contains(c.What, name) }) {
				t.Errorf("%s: the check %q holds", what, name)
			}
		}
	}
	object := ""
	_ = filepath.WalkDir(s.onDisk("idc/data"), func(path string, _ fs.DirEntry, err error) error {
		if strings.Contains(path, "class=main") && strings.HasSuffix(path, ".ndjson.zst") {
			object = path
		}
		return err
	})
	if err := os.Rename(object, object+".away"); err != nil {
		t.Fatal(err)
	}
	wrong("an object is missing", "the auditor", "everything that it kept is at idc", "its kernel handed over is at idc", "every datagram that was sent is at idc")
	if err := os.Rename(object+".away", object); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(object)
	if err == nil {
		err = os.WriteFile(strings.Replace(object, ".ndjson.zst", "0.ndjson.zst", 1), b, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	wrong("an object is there twice", "the auditor", "no record number twice", "no line twice")
	if err := os.Remove(strings.Replace(object, ".ndjson.zst", "0.ndjson.zst", 1)); err != nil {
		t.Fatal(err)
	}
	for _, f := range feeds {
		f.Sent.Add(1)
	}
	wrong("a line more was sent", "tcp-vpn: every confirmed line", "udp-vpn: from the clients")
	for _, f := range feeds {
		f.Sent.Add(^uint64(0))
	}
	ghost := s.group.Launch()
	s.mu.Lock()
	s.servers = append(s.servers, &Server{slot: most, addr: lan(10 + most), instance: ghost, ns: s.servers[0].ns, done: s.servers[0].done, imds: s.servers[0].imds})
	s.mu.Unlock()
	wrong("an instance never delivered", "the auditor", "nothing is left in a socket")
	// Last, since nothing brings these counters back.
	if err := commandIn(s.heavy.ns, "", "nft", "reset", "counters", "table", "ip", "account"); err != nil {
		t.Fatal(err)
	}
	wrong("a relay counts datagrams that its machine has not seen", heavyName+": its account")
}

// feedAll sends a little through every balancer.
func feedAll(t *testing.T, s *Stage, ctx context.Context) (feeds []*Feed, probe *Probe, wait func()) {
	t.Helper()
	var wg sync.WaitGroup
	for i, f := range fronts {
		to := s.entry(f.name)
		if f.name == "relp-apart" {
			p, err := newProbe(f.name, s.clients[f.side], to, 1)
			if err != nil {
				t.Fatal(err)
			}
			probe = p
			wg.Go(func() { p.Send(ctx, 20*time.Millisecond) })
			continue
		}
		shares := make([]float64, 40)
		for i := range shares {
			shares[i] = 1
		}
		feed, err := newFeed(f.name, f.class, s.clients[f.side], to, uint64(i), shares)
		if err != nil {
			t.Fatal(err)
		}
		feeds = append(feeds, feed)
		feed.rate.Store(300)
		feed.churn = 0.2
		feed.doubt = func(string) bool { return false } // nobody is killed
		wg.Go(func() {
			var err error
			if f.tcp {
				err = feed.SendTCP(ctx, time.Second)
			} else {
				err = feed.SendUDP(ctx)
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	return feeds, probe, wg.Wait
}
