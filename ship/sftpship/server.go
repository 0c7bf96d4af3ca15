package sftpship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/pkg/sftp"
)

// What this file holds: the small things an upload needs of a server, beyond reading and writing.

const (
	tmpDir    = "_tmp"
	tmpSuffix = ".part"

	// A temporary file that has not been written for so long belongs to nobody any more. Even if it did: publishing
	// it would fail, and the upload be done again.
	staleAfter  = time.Hour
	sweepEvery  = time.Hour
	sweepAtMost = 100

	// maxDirs bounds the memory of directories known to exist.
	maxDirs = 4096
)

var (
	errUnsupported error = &sftp.StatusError{Code: uint32(sftp.ErrSSHFxOpUnsupported)}
	errNoSpace           = errors.New("too little space on the server")
)

// mkdirs makes dir and its parents, those of the destination's own directory included. Each directory's entry in its
// parent is synced once, also where another host made the directory: that host may not have got so far yet.
func (u *upload) mkdirs(dir string) error {
	if u.h.knows(dir) {
		return nil
	}
	fi, err := u.stat(dir)
	switch {
	case err == nil && !fi.IsDir():
		return fmt.Errorf("%s is no directory there (%v): move it away", dir, fi.Mode())
	case err == nil && leadsTo(u.h.place.dir, dir):
		u.h.remember(dir) // where it came from is not our affair
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return u.h.explain(dir, err)
	}
	// It is there, or not; its parents may not be known to be durable in either case.
	if err := u.mkdirs(path.Dir(dir)); err != nil {
		return err
	}
	if err != nil {
		if dir == u.h.place.dir {
			// What a first delivery expects; but if it was there before, a volume is not mounted.
			u.h.o.Logger.Warn("creating the destination's directory: if it was there before, see that its volume is mounted", "at", u.h.Location())
		}
		if err := u.sftp.Mkdir(dir); err != nil {
			// Another worker or host may have been faster; servers do not say so in a way one could rely on.
			if fi, serr := u.stat(dir); serr != nil || !fi.IsDir() {
				return u.h.explain(dir, err)
			}
		}
	}
	u.syncDir(path.Dir(dir))
	u.h.remember(dir)
	return nil
}

// leadsTo reports whether dir is base or one of its parents.
func leadsTo(base, dir string) bool {
	return base == dir || dir == "/" || dir == "." || strings.HasPrefix(base, dir+"/")
}

// within makes dir and then does what needs it. Clean-up jobs remove empty directories: if it turns out to be gone after
// all, both are done once more.
func (u *upload) within(dir string, do func() error) error {
	for again := true; ; again = false {
		if err := u.mkdirs(dir); err != nil {
			return err
		}
		err := do()
		if !again || !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		u.h.forgetDirs()
	}
}

func (h *Host) knows(dir string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, ok := h.dirs[dir]
	return ok
}

func (h *Host) remember(dir string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.dirs) >= maxDirs {
		clear(h.dirs)
	}
	h.dirs[dir] = struct{}{}
}

func (h *Host) forgetDirs() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.dirs)
}

// sync makes a file durable, where the server can.
func (u *upload) sync(f *sftp.File) error {
	if !u.has("fsync@openssh.com", "1") {
		u.note("no-fsync")
		return nil
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("fsync: %w", err)
	}
	return nil
}

// syncDir makes the entries of a directory durable. The protocol has no such request, but OpenSSH's server opens
// directories like files, and fsync works on them.
func (u *upload) syncDir(dir string) {
	if !u.has("fsync@openssh.com", "1") {
		u.note("no-fsync")
		return
	}
	f, err := u.sftp.Open(dir)
	if err == nil {
		err = errors.Join(f.Sync(), f.Close())
	}
	if err != nil {
		u.note("no-dir-fsync")
	}
}

// room refuses an upload that would leave the server with next to nothing, so that whoever else writes there, and the
// sweep and the manifests, still can. Servers that do not tell are not asked.
func (u *upload) room() error {
	if !u.has("statvfs@openssh.com", "2") {
		return nil
	}
	v, err := u.sftp.StatVFS(u.h.place.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return u.h.noBase()
	case err != nil && !settled(err):
		return err
	case err != nil:
		return nil
	}
	// Bavail, not Bfree: what is left for an account that is not root.
	total, free := v.Blocks*v.Frsize, v.Bavail*v.Frsize
	if keep := max(total/100, 64<<20); free < keep+uint64(u.o.Size) {
		return fmt.Errorf("%w: %d MiB of %d MiB free in %s, the object has %d bytes and %d MiB stay free: make room there",
			errNoSpace, free>>20, total>>20, u.h.place.dir, u.o.Size, keep>>20)
	}
	return nil
}

// noRoom looks for the reason of a write that failed: SFTP version 3 has no status for a full disk.
func (u *upload) noRoom(err error) error {
	var status *sftp.StatusError
	if !errors.As(err, &status) || !u.alive() {
		return err
	}
	if full := u.room(); errors.Is(full, errNoSpace) {
		return fmt.Errorf("%w (%w)", full, err)
	}
	return fmt.Errorf("%w (a full disk or quota there?)", err)
}

// sweep removes temporary files that interrupted uploads of this spool left behind, now and then and never many at a
// time. Their age is taken by the server's own clock, which wrote the time on ours a moment ago.
func (u *upload) sweep(ctx context.Context, dir string) {
	u.h.mu.Lock()
	due := time.Since(u.h.swept[dir]) >= sweepEvery
	if due {
		u.h.swept[dir] = time.Now()
	}
	u.h.mu.Unlock()
	if !due {
		return
	}
	now, err := u.stat(u.tmp)
	if err != nil {
		return
	}
	files, err := u.sftp.ReadDirContext(ctx, dir)
	if err != nil {
		return
	}
	removed := 0
	for _, f := range files {
		if ctx.Err() != nil || removed == sweepAtMost {
			break
		}
		// Only names such as this package gives: a person may have put something aside here.
		if !f.Mode().IsRegular() || !strings.HasSuffix(f.Name(), tmpSuffix) || now.ModTime().Sub(f.ModTime()) < staleAfter {
			continue
		}
		if u.sftp.Remove(path.Join(dir, f.Name())) == nil {
			removed++
		}
	}
	if removed > 0 {
		u.h.o.Logger.Info("removed stale temporary files", "at", u.h.Location(), "dir", dir, "files", removed)
	}
}
