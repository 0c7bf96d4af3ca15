package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/drain"
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
	// asking is held while a spool is inspected: that reads files, and many may be found at once.
	asking sync.Mutex
	// rush is closed when a drain waits: what is tried again is tried soon.
	rush     chan struct{}
	rushOnce sync.Once

	mu      sync.Mutex
	seen    map[string]*orphan
	roots   map[string]unread // of -adopt that cannot be looked through
	looked  bool              // all of them, once
	changed chan struct{}     // closed at the next change of all this
}

var _ drain.Adoptions = (*adoptions)(nil)

func newAdoptions(c *config, log *slog.Logger) *adoptions {
	a := &adoptions{
		c: c, log: log, slot: make(chan struct{}, adoptAtOnce), rush: make(chan struct{}),
		seen: map[string]*orphan{}, roots: map[string]unread{}, changed: make(chan struct{}),
	}
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
			case <-a.rush: // an instance that goes takes over nothing more
				return
			}
		}
	})
}

// Stop implements drain.Adoptions: it ends what is under way, which is gone on with at the next start, here or on another
// host.
func (a *adoptions) Stop(ctx context.Context) error {
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
	found, roots := map[string]fs.FileInfo{}, map[string]unread{}
	for _, root := range a.c.adopt {
		dirs, err := spoolsBelow(root, a.c.spoolDir, adoptDepth)
		if err != nil {
			roots[root] = unread{err.Error(), errors.Is(err, fs.ErrNotExist)}
		}
		for _, dir := range dirs {
			if fi, err := identity(dir); err == nil {
				found[dir] = fi
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.tellRoots(roots)
	a.looked = true
	maps.DeleteFunc(a.seen, func(dir string, o *orphan) bool {
		return o.State != "delivering" && (found[dir] == nil || !os.SameFile(found[dir], o.at) || !found[dir].ModTime().Equal(o.at.ModTime()))
	})
	for dir, fi := range found {
		if a.seen[dir] == nil {
			o := &orphan{at: fi, Dir: dir, State: "waiting", Err: errFound}
			a.seen[dir] = o
			a.wg.Go(func() { a.adopt(o) })
		}
	}
	a.notify()
}

// unread is why a directory could not be looked through.
type unread struct {
	why     string
	missing bool // it is not there
}

// errFound is what is said of a spool before the first attempt.
const errFound = "found, and not looked at yet"

// tellRoots logs which directories of -adopt cannot be looked through, and which can again. A name that is mistyped, or a
// volume that is not mounted, would otherwise pass for one with nothing to adopt. a.mu is held.
func (a *adoptions) tellRoots(now map[string]unread) {
	for root, r := range now {
		if a.roots[root] != r {
			a.log.Warn("-adopt: nothing is adopted from a directory that cannot be read: mount it, or correct its name", "dir", root, "err", r.why)
		}
	}
	for root := range a.roots {
		if now[root] == (unread{}) {
			a.log.Info("-adopt: the directory can be read", "dir", root)
		}
	}
	a.roots = now
}

// notify wakes whoever waits for a change. a.mu is held.
func (a *adoptions) notify() {
	close(a.changed)
	a.changed = make(chan struct{})
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

// spoolsBelow lists the directories that hold a spool: dir itself, or those up to depth levels below it, own excepted. The
// error names what could not be read, where a spool may lie.
func spoolsBelow(dir, own string, depth int) (found []string, err error) {
	if same(dir, own) {
		return nil, nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == name })
	}
	if has("seg") && (has("spool.json") || has("stage")) {
		return []string{dir}, nil
	}
	var errs []error
	for _, e := range entries {
		if e.IsDir() && depth > 0 && !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" {
			below, err := spoolsBelow(filepath.Join(dir, e.Name()), own, depth-1)
			found = append(found, below...)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // unmounted since
				errs = append(errs, err)
			}
		}
	}
	return found, errors.Join(errs...)
}

func same(a, b string) bool {
	fa, err1 := os.Stat(a)
	fb, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(fa, fb)
}
