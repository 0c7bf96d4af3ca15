package main

import (
	"context"
	"flag"
	"io"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// proc is a program of the world. It runs from one step to the next when the world lets it, so that a seed replays exactly.
type proc struct {
	w       *world
	resume  chan bool // false: it dies
	yielded chan struct{}
	main    func(*proc)
	running bool
}

type died struct{}

func (w *world) proc(main func(*proc)) *proc { return &proc{w: w, main: main} }

// step lets the others run, and may be the point at which the program dies.
func (p *proc) step() {
	p.yielded <- struct{}{}
	if !<-p.resume {
		panic(died{})
	}
}

// run lets the program continue to its next step. A program that has died starts again.
func (p *proc) run(alive bool) {
	if !p.running {
		p.resume, p.yielded, p.running = make(chan bool), make(chan struct{}), true
		go func() {
			defer func() {
				if r := recover(); r != nil && r != any(died{}) {
					panic(r)
				}
				close(p.yielded)
			}()
			if <-p.resume {
				p.main(p)
			}
		}()
	}
	p.resume <- alive
	if _, ok := <-p.yielded; !ok {
		p.running = false
	}
}

// kill ends the program permanently.
func (p *proc) kill() {
	if p.running {
		p.run(false)
	}
}

// stepped are the calls of a reaper, each with a step before and after it.
type stepped struct {
	i *instance
	p *proc
	*cloud
}

func (s stepped) Volumes(ctx context.Context) ([]Volume, error) {
	s.p.step()
	defer s.p.step()
	return s.cloud.Volumes(ctx)
}

func (s stepped) Attach(ctx context.Context, v, d string) error {
	s.p.step()
	defer s.p.step()
	return s.cloud.Attach(ctx, v, d)
}

func (s stepped) Detach(ctx context.Context, v, d string) error {
	s.p.step()
	defer s.p.step()
	return s.cloud.Detach(ctx, v, d)
}

func (s stepped) Tag(ctx context.Context, v string, tags map[string]string) error {
	s.p.step()
	defer s.p.step()
	return s.cloud.Tag(ctx, v, tags)
}

func (s stepped) Delete(ctx context.Context, v string) error {
	s.p.step()
	defer s.p.step()
	return s.cloud.Delete(ctx, v)
}

// The disks of the world: a device exists while EC2 says so, and a mount is a symbolic link.
func (s stepped) Find(id string) (string, error) {
	if v := s.i.w.ec2.get(id); v == nil || v.Attached == nil || v.Attached.Instance != s.i.id || v.Attached.State != "attached" {
		return "", fs.ErrNotExist
	}
	return "/dev/" + id, nil
}

func (s stepped) volume(device string) *volume {
	return s.i.w.volumes[strings.TrimPrefix(device, "/dev/")]
}

func (s stepped) Probe(_ context.Context, device string) (Content, error) {
	switch s.volume(device).kind {
	case blank, dirty:
		return Content{}, nil
	case partitions:
		return Content{Signature: "a partition table of type gpt"}, nil
	}
	return Content{FileSystem: "ext4"}, nil
}

func (s stepped) At(device string) (dirs []string, err error) {
	if d, ok := s.i.mounts[device]; ok {
		dirs = []string{d}
	}
	return dirs, nil
}

func (s stepped) Zero(_ context.Context, device string, from int64) (int64, bool, bool, error) {
	s.p.step()
	if from < 3 {
		return from + 1, false, true, nil
	}
	return from, true, s.volume(device).kind == blank, nil
}

func (s stepped) Mount(device string, _ Content, dir string) error {
	s.p.step()
	defer s.p.step()
	if err := os.Symlink(s.volume(device).dir, dir); err != nil {
		return err
	}
	s.i.mounts[device] = dir
	return nil
}

func (s stepped) Unmount(device, dir string) error {
	s.p.step()
	defer s.p.step()
	if s.i.mounts[device] == "" {
		return nil
	}
	if a := s.i.busy(dir); a {
		return fs.ErrExist
	}
	delete(s.i.mounts, device)
	return os.Remove(dir)
}

// busy: the collector has files open there.
func (i *instance) busy(dir string) bool {
	for d, a := range i.state {
		if strings.HasPrefix(d, dir) && a.State == "delivering" {
			return true
		}
	}
	return false
}

func (s stepped) Inodes(string, string) (uint64, bool, error) { return 0, true, nil }

// answering is a collector whose page has a body.
func answering(t *testing.T, body string) *collector {
	c := newCollector("http://collector.invalid")
	c.client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != "/adoptions" {
			t.Errorf("asked for %s", r.URL)
		}
		return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
	})
	return c
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var (
	simSeed     = flag.Uint64("sim.seed", 1, "seed of TestScaleIns")
	simScaleIns = flag.Int("sim.scaleins", 200, "how many instances end in TestScaleIns")
)

// TestScaleIns: 200 instances end at random, each with its volume, while EC2 throttles, fails and returns old descriptions,
// destinations are unavailable for a while, and reapers and collectors die at every call. No volume is deleted before both
// destinations have all of its records, and at the end no volume that could be proven is left.
func TestScaleIns(t *testing.T) {
	w := newWorld(t, *simSeed)
	w.ec2.faulty, w.ec2.stale = someFaults(w.rng, 12), func() int { return max(0, w.rng.IntN(8)-5) }
	for range 3 {
		w.launch()
	}
	for ended, n := 0, 0; ended < *simScaleIns; n++ {
		w.turn(20)
		if n%40 == 39 {
			w.scaleIn()
			ended++
		}
		if w.rng.IntN(300) == 0 {
			w.down = !w.down
		}
	}
	w.down, w.ec2.faulty = false, func() fault { return works }
	w.settle()
	w.end()
	kinds := map[kind]int{}
	for _, v := range w.volumes {
		kinds[v.kind]++
		left := w.ec2.get(v.id)
		switch {
		case left == nil && stays[v.kind]: // reported when it was deleted
		case left != nil && !stays[v.kind]:
			t.Errorf("%s (%s) stays: %+v %+v", v.id, v.kind, left, left.Attached)
		case left != nil && (left.Tags[tagState] != kept || len(left.Tags[tagReason]) < 40):
			t.Errorf("%s (%s) stays without a reason: %v", v.id, v.kind, left.Tags)
		}
	}
	t.Logf("seed %d: %d deleted, %d crashes, volumes %v, calls %v, %v of the fleet's time", *simSeed, w.deleted, w.crashes, kinds, w.ec2.calls, w.clock.Sub(time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)))
	if w.deleted == 0 || w.crashes == 0 {
		t.Error("nothing was tried")
	}
}

// turn lets one program continue. It dies in one of n turns.
func (w *world) turn(n int) {
	ids := slices.Sorted(maps.Keys(w.instances))
	i := w.instances[ids[w.rng.IntN(len(ids))]]
	p := i.procs[w.rng.IntN(len(i.procs))]
	w.clock = w.clock.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	alive := !p.running || w.rng.IntN(n) > 0
	if !alive {
		w.crashes++
		if p == i.procs[1] {
			clear(i.state) // the collector forgets
			clear(i.again)
		}
	}
	p.run(alive)
}

// scaleIn ends an instance, and starts another one.
func (w *world) scaleIn() {
	ids := slices.Sorted(maps.Keys(w.instances))
	i := w.instances[ids[w.rng.IntN(len(ids))]]
	for _, p := range i.procs {
		p.kill()
	}
	for device, dir := range i.mounts {
		w.must(os.Remove(dir))
		delete(i.mounts, device)
	}
	delete(w.instances, i.id)
	w.fill(i.own)
	w.ec2.terminate(i.id)
	w.launch()
}

// settle lets the fleet run until every volume is deleted or kept.
func (w *world) settle() {
	open := func() bool {
		for _, v := range w.volumes {
			if x := w.ec2.get(v.id); x != nil && (!stays[v.kind] || x.Attached != nil || x.Tags[tagState] != kept) {
				return true
			}
		}
		return false
	}
	for n := 0; open() && n < 30_000; n++ {
		w.turn(1 << 30)
	}
}

// end stops everything.
func (w *world) end() {
	for _, i := range w.instances {
		for _, p := range i.procs {
			p.kill()
		}
	}
	matches, _ := filepath.Glob(filepath.Join(w.dir, "i-*", "*"))
	for _, m := range matches {
		_ = os.Remove(m) // links into directories that the test removes
	}
}
