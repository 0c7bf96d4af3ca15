package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
	"github.com/penstock-go/penstock/ship"
	"github.com/penstock-go/penstock/spool"
)

const (
	// adoptEvery is how often the directories of -adopt are looked through.
	adoptEvery = 10 * time.Second
	// adoptDepth is how far below them a spool may lie: a mount, the collector's -spool there, a class in it.
	adoptDepth = 3
	// adoptFirst and adoptLast are the waits between two attempts at one spool.
	adoptFirst, adoptLast = 5 * time.Second, 10 * time.Minute
	// adoptWork is where adoptions keep what they need, below -spool. No class has such a name.
	adoptWork = "adopt-work"
	// adoptAtOnce bounds the disk and the bandwidth that adoptions take from normal service.
	adoptAtOnce = 2
)

// adoptions delivers the spools that other processes have left behind, beside normal service.
type adoptions struct {
	c    *config
	log  *slog.Logger
	ctx  context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
	slot chan struct{}

	mu   sync.Mutex
	seen map[string]*orphan
}

// orphan is a spool that was found.
type orphan struct {
	at fs.FileInfo // see identity

	Dir      string        `json:"dir"`
	State    string        `json:"state"`           // waiting, delivering, delivered
	Phase    string        `json:"phase,omitempty"` // of the drain
	Attempts int           `json:"attempts"`
	Pending  uint64        `json:"pending_records"` // summed over destinations
	ETA      time.Duration `json:"eta_ns,omitempty"`
	Err      string        `json:"error,omitempty"` // of the last attempt
}

func newAdoptions(c *config, log *slog.Logger) *adoptions {
	a := &adoptions{c: c, log: log, slot: make(chan struct{}, adoptAtOnce), seen: map[string]*orphan{}}
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

// start begins to watch; it does nothing without -adopt.
func (a *adoptions) start() {
	if len(a.c.adopt) == 0 {
		return
	}
	a.wg.Go(func() {
		tick := time.NewTicker(adoptEvery)
		defer tick.Stop()
		for {
			a.look()
			select {
			case <-tick.C:
			case <-a.ctx.Done():
				return
			}
		}
	})
}

// stop ends what is under way: it is gone on with at the next start, here or on another host.
func (a *adoptions) stop(ctx context.Context) error {
	a.end()
	done := make(chan struct{})
	go func() { a.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look begins to adopt what is new, and forgets what is gone.
func (a *adoptions) look() {
	found := map[string]fs.FileInfo{}
	for _, root := range a.c.adopt {
		for _, dir := range spoolsBelow(root, a.c.spoolDir, adoptDepth) {
			if fi, err := identity(dir); err == nil {
				found[dir] = fi
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.seen, func(dir string, o *orphan) bool {
		return o.State != "delivering" && (found[dir] == nil || !os.SameFile(found[dir], o.at) || !found[dir].ModTime().Equal(o.at.ModTime()))
	})
	for dir, fi := range found {
		if a.seen[dir] == nil {
			o := &orphan{at: fi, Dir: dir, State: "waiting"}
			a.seen[dir] = o
			a.wg.Go(func() { a.adopt(o) })
		}
	}
}

// identity returns what tells the spool in dir from another one that is mounted there later, and from itself when its owner
// has taken it back and filled it anew. Device and inode do not suffice: volumes are made alike, and come and go under the
// same number. The file that names the spool is written by its owner alone.
func identity(dir string) (fs.FileInfo, error) {
	fi, err := os.Stat(filepath.Join(dir, "spool.json"))
	if errors.Is(err, fs.ErrNotExist) {
		fi, err = os.Stat(filepath.Join(dir, "seg")) // lost; the segments have it
	}
	return fi, err
}

// spoolsBelow lists the directories that hold a spool: dir itself, or those up to depth levels below it, own excepted.
func spoolsBelow(dir, own string, depth int) (found []string) {
	if same(dir, own) {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil // not mounted yet, or not any more
	}
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	if has("seg") && (has("spool.json") || has("stage")) {
		return []string{dir}
	}
	for _, e := range entries {
		if e.IsDir() && depth > 0 && !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			found = append(found, spoolsBelow(filepath.Join(dir, e.Name()), own, depth-1)...)
		}
	}
	return found
}

func same(a, b string) bool {
	fa, err1 := os.Stat(a)
	fb, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(fa, fb)
}

// note changes what is known of an orphan, and reports whether it is still the one of its name.
func (a *adoptions) note(o *orphan, f func()) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	f()
	return a.seen[o.Dir] == o
}

// adopt tries until everything is delivered, or the directory is gone.
func (a *adoptions) adopt(o *orphan) {
	log := a.log.With("adopting", o.Dir)
	for wait := adoptFirst; ; wait = min(2*wait, adoptLast) {
		select {
		case a.slot <- struct{}{}:
		case <-a.ctx.Done():
			return
		}
		if !a.note(o, func() { o.State, o.Attempts = "delivering", o.Attempts+1 }) {
			<-a.slot
			return // it is gone
		}
		began := time.Now()
		r, err := a.attempt(o)
		<-a.slot
		done := errors.Is(err, spool.ErrAdopted) || r != nil && r.Outcome == drain.Complete && !errors.Is(err, ship.ErrFenced)
		if err == nil && !done {
			err = fmt.Errorf("%s: %s", r.Outcome, whatIsLeft(r))
		}
		a.note(o, func() {
			o.State, o.Phase, o.ETA, o.Err = "waiting", "", 0, ""
			if done {
				o.State, o.Pending = "delivered", 0
			}
			if err != nil {
				o.Err = err.Error()
			}
		})
		switch {
		case errors.Is(err, spool.ErrAdopted):
			log.Info("nothing to adopt: delivered before", "err", err)
			return
		case done && err != nil:
			log.Warn("adopted: everything is delivered and verified, but the volume cannot be marked", "err", err)
			return
		case done:
			log.Info("adopted: everything is delivered and verified, the volume can go", "took", time.Since(began).Round(time.Millisecond))
			return
		case a.ctx.Err() != nil:
			return
		case errors.Is(err, ship.ErrFenced):
			log.Warn("another adopter is at work; looking again", "err", err, "again_in", wait)
		default:
			log.Error("not adopted yet, trying again", "err", err, "again_in", wait)
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-a.ctx.Done():
		}
		t.Stop()
	}
}

// whatIsLeft says why an adoption is incomplete: what is not delivered, and what is damaged until the operator gives it up.
func whatIsLeft(r *drain.Report) string {
	var why []string
	if len(r.Left) > 0 {
		l := r.Left[0]
		why = append(why, fmt.Sprintf("%d leftovers, the first: records %d to %d, not at %s: %s", len(r.Left), l.First, l.Last, l.Destination, l.Why))
	}
	for _, class := range slices.Sorted(maps.Keys(r.Classes)) {
		for _, x := range r.Classes[class].Damages {
			if !x.GivenUp {
				why = append(why, fmt.Sprintf("class %s, segment %d: %d damaged records, which are not given up (collector give-up -h says how): %s", class, x.Segment, x.Records, x.Why))
			}
		}
	}
	return strings.Join(append(why, r.Errors...), "; ")
}

// attempt has its own connections: a volume that takes days holds up no class.
func (a *adoptions) attempt(o *orphan) (*drain.Report, error) {
	dests := map[string]ship.Destination{}
	defer func() {
		for _, d := range dests {
			if c, ok := d.(io.Closer); ok {
				_ = c.Close()
			}
		}
	}()
	for name, u := range a.c.dests {
		d, err := openDestination(a.ctx, u, a.log)
		if err != nil {
			return nil, fmt.Errorf("-dest %s: %w", name, err)
		}
		dests[name] = d
	}
	return drain.Adopt(a.ctx, o.Dir, &drain.AdoptOptions{
		Work: filepath.Join(a.c.spoolDir, adoptWork), Destinations: dests, Forget: a.c.forget, MaxBytes: a.maxBytes(), StallTimeout: stallTimeout,
		Ship: ship.Options{Patience: a.c.adoptPatience},
		Class: func(class string, s *ship.Options) {
			s.Format, s.Codec, s.Level = a.c.format.of(class), a.c.codec.of(class).name, a.c.codec.of(class).level
			if a.c.key != nil {
				s.Signer = a.c.key
			}
		},
		Progress: func(p drain.Progress) {
			a.note(o, func() { o.Phase, o.Pending, o.ETA = p.Phase, p.Pending.Records, p.ETA })
		},
		Logger: a.log,
	})
}

// maxBytes is -adopt-max-bytes, or what the classes leave of the file system.
func (a *adoptions) maxBytes() int64 {
	_, total, err := fileSystem(a.c.spoolDir)
	if a.c.adoptMaxBytes > 0 || err != nil {
		return a.c.adoptMaxBytes
	}
	return max(total/20, 256<<20)
}

// ServeHTTP tells how far each adoption is.
func (a *adoptions) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	a.mu.Lock()
	all := make([]orphan, 0, len(a.seen))
	for _, dir := range slices.Sorted(maps.Keys(a.seen)) {
		all = append(all, *a.seen[dir])
	}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(all) // who asked has gone
}
