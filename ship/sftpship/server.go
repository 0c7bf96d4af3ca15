package sftpship

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/spool/object"
)

// This file handles directories, and makes files and their names durable.

const (
	tmpDir    = object.TempDir
	tmpSuffix = ".part"

	// maxDirs bounds the memory of directories known to exist.
	maxDirs = 4096
)

// names is a bounded set of names; beyond the bound it forgets all.
type names struct {
	mu  sync.Mutex
	set map[string]struct{}
}

func (n *names) has(name string) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, ok := n.set[name]
	return ok
}

func (n *names) add(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.set == nil || len(n.set) >= maxDirs {
		n.set = make(map[string]struct{})
	}
	n.set[name] = struct{}{}
}

func (n *names) remove(name string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.set, name)
}

func (n *names) clear() {
	n.mu.Lock()
	defer n.mu.Unlock()
	clear(n.set)
}

// level is a directory that is not known to exist.
type level struct {
	dir  string
	stat *sftpc.Pending[sftpc.Attrs]
	make bool
	made *sftpc.Pending[sftpc.Void]
	up   *sftpc.Pending[sftpc.Handle] // its parent, whose entry for it becomes durable
}

// mkdirs makes directories and their parents, including those of the destination's own directory. It syncs each
// directory's entry in its parent once, even if another host made the directory: that host may not have synced it yet. It
// asks about all of them at once, makes them at once if the server keeps the order of requests, and syncs them at once.
func (u *upload) mkdirs(dirs ...string) error {
	levels := u.unknown(dirs)
	if err := u.lookFor(levels); err != nil {
		return err
	}
	for i := range levels {
		if l := &levels[i]; l.make {
			if l.dir == u.h.place.dir {
				// A first delivery expects this; but if the directory was there before, a volume is not mounted.
				u.h.o.Logger.Warn("sftpship: creating the destination's directory: if it was there before, see that its volume is mounted", "location", u.h.Location())
			}
			l.made = inOrder(u, u.Mkdir(l.dir))
		}
	}
	// Only after all were requested: if they are made at once, this is the second round trip.
	for i := range levels {
		l := &levels[i]
		if l.make {
			l.stat = u.Stat(l.dir)
		}
		if l.make || !leadsTo(u.h.place.dir, l.dir) { // one that was there, at or above place.dir, is not ours to sync
			l.up = u.openDir(path.Dir(l.dir))
		}
	}
	return u.haveMade(levels)
}

// lookFor finds out which directories have to be made.
func (u *upload) lookFor(levels []level) error {
	for i := range levels {
		levels[i].stat = u.Stat(levels[i].dir)
	}
	for i := range levels {
		l := &levels[i]
		a, err := l.stat.Wait()
		switch {
		case err == nil && a.Kind() != sftpc.Directory && a.Kind() != sftpc.Unknown:
			return fmt.Errorf("%s is no directory there (%v): move it away", l.dir, a.Kind())
		case err != nil && !errors.Is(err, fs.ErrNotExist) && !unclear(err):
			return u.h.explain(l.dir, err)
		}
		l.make = err != nil
		if up := path.Dir(l.dir); l.make && leadsTo(u.h.place.dir, l.dir) && up != l.dir {
			if err := u.mkdirs(up); err != nil {
				return err
			}
		}
	}
	return nil
}

// haveMade awaits the answers to mkdirs.
func (u *upload) haveMade(levels []level) (err error) {
	for _, l := range levels {
		if l.made != nil {
			// Another worker or host may have been faster; servers have no reliable status for that.
			merr := l.made.Err()
			if a, serr := l.stat.Wait(); serr != nil || a.Kind() != sftpc.Directory && a.Kind() != sftpc.Unknown {
				err = first(err, u.h.explain(l.dir, first(merr, serr, fmt.Errorf("is %v", a.Kind()))))
			}
		}
	}
	var syncs []func()
	for _, l := range levels {
		syncs = append(syncs, u.startSyncDir(l.up))
	}
	for i, wait := range syncs {
		if wait(); err == nil {
			u.h.dirs.add(levels[i].dir)
		}
	}
	return err
}

// unknown lists the directories, and those above them, that are not known to exist: parents first, each once.
func (u *upload) unknown(dirs []string) (levels []level) {
	seen := map[string]bool{}
	for _, dir := range dirs {
		var up []level
		for ; !u.h.dirs.has(dir) && !seen[dir]; dir = path.Dir(dir) {
			seen[dir] = true
			up = append(up, level{dir: dir})
			if leadsTo(u.h.place.dir, dir) {
				break // what is above is asked about only if this is missing: it may be forbidden
			}
		}
		for i := range up {
			levels = append(levels, up[len(up)-1-i])
		}
	}
	return levels
}

// leadsTo reports whether dir is base or one of its parents.
func leadsTo(base, dir string) bool {
	return base == dir || dir == "/" || dir == "." || strings.HasPrefix(base, dir+"/")
}

// within makes directories and then calls do, which needs them. Clean-up jobs remove empty directories: if one has
// disappeared, within does both once more.
func (u *upload) within(dirs []string, do func() error) error {
	for again := true; ; again = false {
		if err := u.mkdirs(dirs...); err != nil {
			return err
		}
		err := do()
		if !again || !errors.Is(err, fs.ErrNotExist) && !unclear(err) {
			return err
		}
		u.h.dirs.clear()
	}
}

// sync asks the server to make a file durable; it returns nil if the server cannot.
func (u *upload) sync(f sftpc.Handle) *sftpc.Pending[sftpc.Void] {
	if !u.Has("fsync@openssh.com", "1") {
		u.note("no-fsync")
		return nil
	}
	return u.Fsync(f)
}

func fsyncError(err error) error {
	if err != nil {
		return fmt.Errorf("fsync: %w", err)
	}
	return nil
}

// openDir begins to make the entries of a directory durable. The protocol has no such request, but OpenSSH's server opens
// directories like files, and fsync works on them. It returns nil if the server cannot sync at all.
func (u *upload) openDir(dir string) *sftpc.Pending[sftpc.Handle] {
	if !u.Has("fsync@openssh.com", "1") {
		u.note("no-fsync")
		return nil
	}
	return u.Open(dir, sftpc.Read)
}

// startSyncDir syncs a directory that openDir has opened; wait awaits the answer.
func (u *upload) startSyncDir(opened *sftpc.Pending[sftpc.Handle]) (wait func()) {
	if opened == nil {
		return func() {}
	}
	dir, err := opened.Wait()
	if err != nil {
		u.note("no-dir-fsync")
		return func() {}
	}
	synced := inOrder(u, u.Fsync(dir))
	u.Close(dir)
	return func() {
		if synced.Err() != nil {
			u.note("no-dir-fsync")
		}
	}
}

// syncDir is startSyncDir, and waits.
func (u *upload) syncDir(opened *sftpc.Pending[sftpc.Handle]) { u.startSyncDir(opened)() }

// closeDir closes what openDir has opened, without a sync.
func (u *upload) closeDir(opened *sftpc.Pending[sftpc.Handle]) {
	if opened == nil {
		return
	}
	if dir, err := opened.Wait(); err == nil {
		u.Close(dir)
	}
}
