package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/ship/audit"
	"github.com/penstock-go/penstock/ship/open"
	"github.com/penstock-go/penstock/ship/shiptest"
	"github.com/penstock-go/penstock/spool"
	"github.com/penstock-go/penstock/spool/segment"
)

// kind is the contents of a volume.
type kind string

const (
	blank      kind = "blank"      // never formatted
	empty      kind = "empty"      // a file system without files
	done       kind = "done"       // its spools are delivered
	owing      kind = "owing"      // its spools are not
	strange    kind = "strange"    // next to its spools it has a foreign file
	damaged    kind = "damaged"    // a segment is damaged
	partitions kind = "partitions" // a partition table
	dirty      kind = "dirty"      // no signature, and not zero
)

// stays lists the kinds of volumes that cannot be proven to be delivered.
var stays = map[kind]bool{strange: true, damaged: true, partitions: true, dirty: true}

// world is a fleet: real spools in directories for volumes, real adopters, two destinations in memory, and the fake of EC2.
type world struct {
	t     *testing.T
	rng   *rand.Rand
	dir   string
	clock time.Time
	ec2   *fakeEC2
	dests map[string]ship.Destination
	down  bool // the destinations cannot be reached

	volumes   map[string]*volume
	instances map[string]*instance
	number    int
	deleted   int
	crashes   int
	log       *slog.Logger
}

// volume is the test's knowledge of one volume.
type volume struct {
	id      string
	kind    kind
	dir     string
	spools  []string // ids
	records map[string]bool
}

// instance is a server of the fleet, with a reaper and a collector.
type instance struct {
	w       *world
	id      string
	orphans string
	own     string // its data volume
	leaving bool
	mounts  map[string]string // device -> mount point

	state map[string]Adoption
	again map[string]time.Time // the next attempt
	procs []*proc
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, rng: rand.New(rand.NewPCG(seed, 1)), dir: tempDir(t), clock: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC),
		dests:   map[string]ship.Destination{"s3": shiptest.Memory(), "idc": shiptest.Memory()},
		volumes: map[string]*volume{}, instances: map[string]*instance{}, log: slog.New(slog.DiscardHandler),
	}
	if testing.Verbose() && os.Getenv("REAPER_LOG") != "" {
		w.log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	w.ec2 = newFakeEC2(t, func() time.Time { return w.clock })
	w.ec2.deletes, w.ec2.detach = w.judgeDeletion, w.judgeDetachment
	return w
}

// tempDir is a directory in memory, if possible: this test does not check what a kill leaves on a disk.
func tempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "reaper")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// judgeDeletion is the test's own proof: it reads every record of a deleted volume at both destinations.
func (w *world) judgeDeletion(id string) {
	v := w.volumes[id]
	w.deleted++
	if stays[v.kind] {
		w.t.Errorf("%s (%s) is deleted", id, v.kind)
	}
	for name, d := range w.dests {
		have := map[string]bool{}
		for _, sp := range v.spools {
			err := open.Records(w.t.Context(), only{d, sp}, nil, func(_ uint64, r segment.Record) error {
				have[string(r.Data)] = true
				return nil
			})
			if err != nil {
				w.t.Error(err)
			}
		}
		for r := range v.records {
			if !have[r] {
				w.t.Errorf("%s (%s) is deleted, and %s lacks %q and perhaps more", id, v.kind, name, r)
				break
			}
		}
	}
}

// judgeDetachment checks that the device is not detached while it is mounted.
func (w *world) judgeDetachment(id string) {
	for _, i := range w.instances {
		if p, ok := i.mounts["/dev/"+id]; ok {
			w.t.Errorf("%s is detached while it is mounted at %s", id, p)
		}
	}
}

// only is a destination that seems to contain only the objects of one spool.
type only struct {
	ship.Destination
	spool string
}

func (o only) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		for e, err := range o.Destination.(ship.Lister).List(ctx, prefix) {
			if (err != nil || strings.Contains(e.Key, o.spool)) && !yield(e, err) {
				return
			}
		}
	}
}

// launch starts an instance with a volume of the given kind, as it will be when the instance ends.
func (w *world) launch() *instance {
	w.number++
	i := &instance{
		w: w, id: fmt.Sprintf("i-%04d", w.number), orphans: filepath.Join(w.dir, fmt.Sprintf("i-%04d", w.number)),
		own: fmt.Sprintf("vol-%04d", w.number), mounts: map[string]string{}, state: map[string]Adoption{}, again: map[string]time.Time{},
	}
	if err := os.MkdirAll(i.orphans, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.instances[i.id] = i
	w.ec2.launch(i.own, i.id)
	i.procs = append(i.procs, w.proc(i.reap), w.proc(i.collect))
	return i
}

// fill makes the contents of a volume.
func (w *world) fill(id string) {
	kinds := []kind{blank, blank, empty, empty, done, done, owing, owing, owing, owing, owing, owing, strange, damaged, partitions, dirty}
	v := &volume{id: id, kind: kinds[w.rng.IntN(len(kinds))], dir: filepath.Join(w.dir, id), records: map[string]bool{}}
	w.volumes[id] = v
	for _, d := range []string{"lost+found", "spool", "orphans"} {
		w.must(os.MkdirAll(filepath.Join(v.dir, d), 0o755))
	}
	switch v.kind {
	case strange:
		w.must(os.WriteFile(filepath.Join(v.dir, "notes.txt"), []byte("of an operator"), 0o600))
	case owing, done, damaged:
		for _, name := range []string{"report.json", "asg.json"} {
			w.must(os.WriteFile(filepath.Join(v.dir, "spool", name), []byte("{}"), 0o600))
		}
		for _, class := range []string{"vpn", "web"}[:1+w.rng.IntN(2)] {
			w.spool(v, class)
		}
	}
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// spool makes a spool with records that a process has left behind.
func (w *world) spool(v *volume, class string) {
	ctx := w.t.Context()
	dir := filepath.Join(v.dir, "spool", class)
	s, err := spool.Open(dir, &spool.Options{
		Class: class, Instance: v.id, Destinations: []string{"idc", "s3"}, SegmentBytes: 64 << 10, MaxBytes: 64 << 20, Sync: spool.SyncNone,
	})
	w.must(err)
	for n := range 1 + w.rng.IntN(3) {
		data := fmt.Sprintf("%s %s record %d %s", v.id, class, n, strings.Repeat("x", 100))
		_, err := s.Append(ctx, []segment.Record{{Time: time.Now().UnixNano(), Data: []byte(data)}})
		w.must(err)
		v.records[data] = true
		if w.rng.IntN(3) == 0 {
			w.must(s.Seal(ctx))
		}
	}
	v.spools = append(v.spools, s.Stats().Spool)
	w.must(s.Close())
	switch v.kind {
	case done:
		r, err := w.adopt(ctx, dir, filepath.Join(w.dir, "i-last"), patient)
		if err != nil || r.Outcome != drain.Delivered {
			w.t.Fatalf("%v %+v", err, r)
		}
	case damaged:
		files, err := filepath.Glob(filepath.Join(dir, "seg", "*.seg"))
		w.must(err)
		b, err := os.ReadFile(files[0])
		w.must(err)
		at := strings.LastIndex(string(b), "record ")
		b[at] ^= 0xff
		w.must(os.WriteFile(files[0], b, 0o600))
	}
}

// patient is the StallTimeout of an adoption that must succeed: one slow write to a disk does not count as a stall.
const patient = 10 * time.Second

// adopt adopts a spool like a collector. It removes the mark of the adoption, which could not be written on a real volume,
// mounted read-only.
func (w *world) adopt(ctx context.Context, dir, work string, stall time.Duration) (*drain.Report, error) {
	r, err := drain.Adopt(ctx, dir, &drain.AdoptOptions{
		Work: work, Instance: filepath.Base(work), Destinations: w.dests, MaxBytes: 64 << 20, Timeout: time.Minute, StallTimeout: stall,
		Ship: ship.Options{OwnerTimeout: time.Nanosecond, Backoff: func(int, float64) time.Duration { return time.Millisecond }},
	})
	if rerr := os.Remove(filepath.Join(dir, "adopted")); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
		w.t.Error(rerr)
	}
	return r, err
}

// collect is the collector of an instance: it delivers mounted volumes.
func (i *instance) collect(p *proc) {
	for {
		mounted := map[string]bool{}
		for _, at := range slices.Sorted(maps.Values(i.mounts)) {
			p.step()
			spools, _ := filepath.Glob(filepath.Join(at, "spool", "*", "spool.json"))
			for _, s := range spools {
				dir := filepath.Dir(s)
				mounted[dir] = true
				if i.state[dir].State == "delivered" || i.w.clock.Before(i.again[dir]) {
					continue
				}
				i.again[dir] = i.w.clock.Add(time.Hour)
				i.state[dir] = Adoption{State: "delivering"}
				p.step()
				if _, err := os.Stat(dir); err != nil {
					continue
				}
				i.state[dir] = i.adoptOne(dir)
				p.step()
			}
		}
		for dir := range i.state {
			if !mounted[dir] {
				delete(i.state, dir)
				delete(i.again, dir)
			}
		}
		p.step()
	}
}

func (i *instance) adoptOne(dir string) Adoption {
	if i.w.down {
		return Adoption{"waiting", "the destination cannot be reached"}
	}
	ctx, cancel := context.WithCancel(i.w.t.Context())
	defer cancel()
	if i.w.rng.IntN(10) == 0 {
		cancel() // the collector is ended meanwhile
	}
	r, err := i.w.adopt(ctx, dir, i.orphans+"-work", 200*time.Millisecond) // it only tries again
	if r != nil && r.Outcome == drain.Delivered && err == nil {
		return Adoption{State: "delivered"}
	}
	why := fmt.Sprint(err)
	if r != nil {
		why += " " + string(r.Outcome)
	}
	return Adoption{"waiting", why}
}

// reap is a reaper that is restarted after each death.
func (i *instance) reap(p *proc) {
	c := i.w.ec2.client(i.id)
	s := stepped{i, p, c}
	pr := &prover{}
	for _, name := range []string{"idc", "s3"} {
		pr.places = append(pr.places, audit.Place{Name: name, Destination: i.w.dests[name]})
	}
	r := &Reaper{
		Instance: i.id, Fleet: "penstock", Orphans: i.orphans, Apply: true, AtOnce: 3, Young: 10 * time.Minute, Retry: 24 * time.Hour, Patience: 2 * time.Hour,
		Lister: s, Attacher: s, Keeper: s, Disks: s, Mounts: s, Files: s,
		Leaving:  func(context.Context) (bool, error) { return i.leaving, nil },
		Adoption: i.ask,
		Prove: func(ctx context.Context, dir string) (Proof, error) {
			p.step()
			if i.w.down {
				return Proof{}, errors.New("the destination cannot be reached")
			}
			return pr.prove(ctx, dir)
		},
		Pause: func(_ context.Context, d time.Duration) error { i.w.clock = i.w.clock.Add(d); p.step(); return nil },
		Now:   func() time.Time { return i.w.clock }, Log: i.w.log.With("on", i.id),
	}
	for {
		p.step()
		if err := r.Pass(i.w.t.Context()); err != nil {
			i.w.log.Info("pass", "on", i.id, "err", err)
		}
	}
}

// ask is the collector's answer about a spool, from the contents of its page.
func (i *instance) ask(ctx context.Context, dir string) (Adoption, error) {
	type entry struct {
		Dir   string `json:"dir"`
		State string `json:"state"`
		Error string `json:"error,omitempty"`
	}
	var all []entry
	for d, a := range i.state {
		all = append(all, entry{d, a.State, a.Err})
	}
	b, err := json.Marshal(all)
	i.w.must(err)
	return answering(i.w.t, string(b)).adoption(ctx, dir)
}

func record(text string) []segment.Record {
	return []segment.Record{{Time: time.Now().UnixNano(), Data: []byte(text)}}
}
