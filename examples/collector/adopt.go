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
	// adoptEvery is how often the directories of -adopt are searched.
	adoptEvery = 10 * time.Second
	// adoptDepth is how many levels below them a spool may be: a mount, the collector's -spool in it, a class in that.
	adoptDepth = 3
	// adoptFirst and adoptLast are the first and the longest wait between two attempts to adopt a spool.
	adoptFirst, adoptLast = 5 * time.Second, 10 * time.Minute
	// adoptWork is the directory below -spool in which adoptions keep their files. No class has such a name.
	adoptWork = "adopt-work"
	// adoptAtOnce bounds the disk and the bandwidth that adoptions take from normal service.
	adoptAtOnce = 2
)

// adoptions delivers the spools that other processes left behind, in parallel with normal service.
type adoptions struct {
	c    *config
	log  *slog.Logger
	ctx  context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup
	slot chan struct{}
	// inspecting is held while a spool is inspected: an inspection reads files, and many spools may be found at once.
	inspecting sync.Mutex
	// rush is closed when a drain waits for adoptions: from then on, attempts follow soon after each other.
	rush     chan struct{}
	rushOnce sync.Once

	mu      sync.Mutex
	seen    map[string]*orphan
	roots   map[string]unread // directories of -adopt that cannot be searched, and spools in them that cannot be inspected
	looked  bool              // all directories of -adopt have been searched once
	changed chan struct{}     // closed at the next change of these fields
}

var _ drain.Adoptions = (*adoptions)(nil)

// newAdoptions returns adoptions that have not started.
func newAdoptions(c *config, log *slog.Logger) *adoptions {
	a := &adoptions{
		c: c, log: log, slot: make(chan struct{}, adoptAtOnce), rush: make(chan struct{}),
		seen: map[string]*orphan{}, roots: map[string]unread{}, changed: make(chan struct{}),
	}
	a.ctx, a.end = context.WithCancel(context.Background())
	return a
}

// start begins to watch the directories of -adopt, if there are any.
func (a *adoptions) start() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.c.adopt) == 0 || a.ctx.Err() != nil {
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
			case <-a.rush: // an instance that is ending adopts no further spools
				return
			}
		}
	})
}

// Stop implements drain.Adoptions: it ends the adoptions in progress. They continue at the next start, on this or another host.
func (a *adoptions) Stop(ctx context.Context) error {
	a.mu.Lock() // so that start begins nothing after this
	a.end()
	a.mu.Unlock()
	done := make(chan struct{})
	go func() { a.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look begins to adopt new spools, and forgets those that are gone.
func (a *adoptions) look() {
	found, roots := map[string]sight{}, map[string]unread{}
	for _, root := range a.c.adopt {
		dirs, err := spoolsBelow(root, a.c.spoolDir, adoptDepth)
		if err != nil {
			roots[root] = unread{err.Error(), errors.Is(err, fs.ErrNotExist)}
		}
		for _, dir := range dirs {
			switch at, err := identity(dir); {
			case err == nil:
				found[dir] = at
			case !errors.Is(err, fs.ErrNotExist): // if it does not exist, it has been unmounted meanwhile
				roots[dir] = unread{err.Error(), false}
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.logRoots(roots)
	a.looked = true
	maps.DeleteFunc(a.seen, func(dir string, o *orphan) bool {
		return o.State != "delivering" && !o.isAt(found[dir]) && roots[dir] == (unread{})
	})
	for dir, at := range found {
		if a.seen[dir] == nil {
			o := &orphan{at: at, Dir: dir, State: "waiting", Err: errFound}
			a.seen[dir] = o
			a.wg.Go(func() { a.adopt(o) })
		}
	}
	a.notify()
}

// unread says why a directory could not be searched.
type unread struct {
	why     string
	missing bool // it does not exist
}

// errFound is the status of a spool before the first attempt.
const errFound = "found, not inspected yet"

// logRoots logs which directories of -adopt cannot be searched, and which can again. Otherwise a mistyped name, or a volume that
// is not mounted, would look like a directory with nothing to adopt. a.mu is held.
func (a *adoptions) logRoots(now map[string]unread) {
	for root, r := range now {
		if a.roots[root] != r {
			a.log.Warn("-adopt: cannot read the directory, so nothing in it is adopted: mount it, or correct its name", "dir", root, "err", r.why)
		}
	}
	for root := range a.roots {
		if now[root] == (unread{}) {
			a.log.Info("-adopt: the directory can be read now; its spools are adopted", "dir", root)
		}
	}
	a.roots = now
}

// notify wakes everyone who waits for a change. a.mu is held.
func (a *adoptions) notify() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// sight identifies a spool in a directory. It differs if another spool is mounted there later, or if the owner has used the
// spool again.
type sight struct {
	// file is the file that names the spool; only the owner writes it. Device and inode alone do not suffice: volumes created
	// alike are mounted and unmounted under the same device number.
	file fs.FileInfo
	// used is when a process last opened or closed the spool as its owner, i.e. the time of the lock file; zero if there is
	// none. An adopter does not change it, whether it writes the mark of the adoption or fails to because the volume is full.
	used time.Time
}

// identity returns the sight of the spool in dir.
func identity(dir string) (at sight, err error) {
	at.file, err = os.Stat(filepath.Join(dir, "spool.json"))
	if errors.Is(err, fs.ErrNotExist) {
		at.file, err = os.Stat(filepath.Join(dir, "seg")) // the file is lost; the segments name the spool too
	}
	if err != nil {
		return sight{}, err
	}
	switch fi, err := os.Stat(filepath.Join(dir, "LOCK")); {
	case err == nil:
		at.used = fi.ModTime()
	case !errors.Is(err, fs.ErrNotExist):
		return sight{}, err
	}
	return at, nil
}

// isAt reports whether the spool now found in its directory is the orphan. A delivered orphan must not have been used since.
// One that is not delivered yet may have been: its owner may be running. adoptions.mu is held.
func (o *orphan) isAt(now sight) bool {
	return now.file != nil && os.SameFile(now.file, o.at.file) && now.file.ModTime().Equal(o.at.file.ModTime()) &&
		(o.State != "delivered" || now.used.Equal(o.at.used))
}

// spoolsBelow lists the directories that hold a spool: dir itself, or directories up to depth levels below it. It leaves out
// own, and the partial copy that another collector keeps of a volume that it is adopting: the copy looks like a spool, but has
// only a part of its files. The error names the directories that could not be read and may hold a spool.
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
		if e.IsDir() && depth > 0 && !strings.HasPrefix(e.Name(), ".") && e.Name() != "lost+found" && e.Name() != adoptWork {
			below, err := spoolsBelow(filepath.Join(dir, e.Name()), own, depth-1)
			found = append(found, below...)
			if err != nil && !errors.Is(err, fs.ErrNotExist) { // if it does not exist, it has been unmounted meanwhile
				errs = append(errs, err)
			}
		}
	}
	return found, errors.Join(errs...)
}

// same reports whether two paths lead to the same file.
func same(a, b string) bool {
	fa, err1 := os.Stat(a)
	fb, err2 := os.Stat(b)
	return err1 == nil && err2 == nil && os.SameFile(fa, fb)
}
