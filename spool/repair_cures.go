package spool

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/segment"
)

// cure is an answer to a refusal of Open: it does what Open's message asks the operator to do, if that loses nothing.
//
// The invariant: do is one rename, so that after a kill it is either done or not done.
type cure struct {
	Change
	show func(view vfs.FS) error // makes the change in a view of vfs.Preview
	do   func(kept string) error // makes the change, and moves a file that it puts aside to kept
}

// keptDir is the name in plans of the directory that Apply creates.
const keptDir = "kept"

// putAside is the cure that moves a file, or anything else under its name, out of the way.
func (r *repairer) putAside(why string, elem ...string) *cure {
	rel := filepath.Join(elem...)
	path := filepath.Join(r.dir, rel)
	c := &cure{Change: Change{What: "move", Path: filepath.ToSlash(rel), To: keptDir + "/" + filepath.ToSlash(rel), Why: why}}
	if fi, err := r.fs.Stat(path); err == nil && fi.Mode().IsRegular() {
		c.Size = fi.Size()
	}
	c.show = func(view vfs.FS) error { return vfs.Conceal(view, path) }
	c.do = func(kept string) error {
		to := filepath.Join(kept, rel)
		if err := r.fs.MkdirAll(filepath.Dir(to)); err != nil {
			return err
		}
		if err := r.fs.Rename(path, to); err != nil {
			return err
		}
		return errors.Join(r.fs.SyncDir(filepath.Dir(to)), r.fs.SyncDir(filepath.Dir(path)))
	}
	return c
}

// copyFrom is the cure that replaces path, a link to the file at from, by a copy of that file.
func (r *repairer) copyFrom(from, path, why string) (*cure, error) {
	fi, err := r.fs.Stat(from)
	if err != nil {
		return nil, err
	}
	rel, err := filepath.Rel(r.dir, path)
	if err != nil {
		return nil, err
	}
	c := &cure{Change: Change{What: "replace", Path: filepath.ToSlash(rel), Size: fi.Size(), Why: why}}
	c.show = func(view vfs.FS) error { return vfs.Substitute(view, path, from) }
	c.do = func(string) error {
		temp := path + ".own" + vfs.TempSuffix
		if err := r.fs.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) { // left by an attempt that failed
			return err
		}
		if err := r.copy(from, temp); err != nil {
			return err
		}
		if err := r.fs.Rename(temp, path); err != nil {
			return err
		}
		return r.fs.SyncDir(filepath.Dir(path))
	}
	return c, nil
}

// copy makes a copy of a file. The contents of the copy are durable, its name is not. Parts that the disk cannot read become zeros.
func (r *repairer) copy(from, to string) error {
	src, err := r.fs.Open(from)
	if err != nil {
		return err
	}
	defer src.Close()
	size, err := src.Size()
	if err != nil {
		return err
	}
	dst, err := r.fs.Create(to)
	if err != nil {
		return err
	}
	err = copyFile(dst, src, size, true)
	if err == nil {
		err = dst.Truncate(size)
	}
	if err == nil {
		err = dst.Sync()
	}
	return errors.Join(err, dst.Close())
}

// obstacles returns the cures for files of the wrong type, such as symbolic links. Those that only an operator can judge are left to
// Open, which refuses them.
func (r *repairer) obstacles() (cures []*cure, err error) {
	add := func(c *cure) {
		if c != nil {
			cures = append(cures, c)
		}
	}
	for _, dir := range []string{"", segDir, stageDir, chainDir, freeDir, damagedDir} {
		entries, err := r.fs.ReadDir(filepath.Join(r.dir, dir))
		if errors.Is(err, fs.ErrNotExist) || dir != "" && err != nil && r.isFile(dir) {
			continue // a file instead of a directory has a cure of its own
		}
		if err != nil {
			return nil, fmt.Errorf("spool: %w", err)
		}
		for _, e := range entries {
			isDir := dir == "" && subdirs[e.Name()]
			switch mode := e.Type(); {
			case mode&fs.ModeSymlink != 0:
				c, err := r.link(dir, e.Name())
				if err != nil {
					return nil, err
				}
				add(c)
			case isDir && !mode.IsDir():
				add(r.putAside("a spool has a directory of that name", dir, e.Name()))
			case !isDir && !mode.IsRegular() && isOurs(dir, e.Name()):
				add(r.putAside("a spool has only a file of that name", dir, e.Name()))
			}
		}
	}
	return cures, nil
}

func (r *repairer) isFile(dir string) bool {
	fi, err := r.fs.Stat(filepath.Join(r.dir, dir))
	return err == nil && !fi.IsDir()
}

// isOurs reports whether a spool uses a name, so that only a file may have it.
func isOurs(dir, name string) bool {
	switch dir {
	case "":
		switch name {
		case identityName, cleanName, lifeName, adoptedName, frozenName, begunName, ledgerName, index.FileName:
			return true
		}
		return false
	case segDir:
		_, ok := parseName(name, segExt)
		return ok
	case damagedDir:
		_, note := parseName(name, noteExt)
		_, givenUp := parseName(name, givenUpExt)
		return note || givenUp
	case chainDir:
		return strings.HasSuffix(name, stateExt) || strings.HasSuffix(name, nextExt)
	}
	return true // recovery removes all unknown files from stage/ and free/, but cannot remove a directory
}

// link returns the cure for a symbolic link, nil if there is none. A segment that was moved to another disk is copied back. A link that
// leads nowhere is put aside, unless it has the name of one of the spool's files: then the disk that has the file may not be mounted
// now, and the records in the file would count as damaged. Any other link has no cure: it may lead to a file of this host, and a copy
// would be readable to anyone who can read the volume.
func (r *repairer) link(dir, name string) (*cure, error) {
	path := filepath.Join(r.dir, dir, name)
	to, err := filepath.EvalSymlinks(path)
	if errors.Is(err, fs.ErrNotExist) {
		kind, _, _ := kindOf(dir, name)
		if kind != "unknown" && kind != "unfinished" || dir == "" && subdirs[name] {
			return nil, nil
		}
		return r.putAside("a symbolic link that leads nowhere", dir, name), nil
	}
	n, ok := parseName(name, segExt)
	id, ierr := loadIdentity(r.fs, r.dir)
	if err != nil || ierr != nil || dir != segDir || !ok || !r.isSegment(to, n, id) {
		return nil, nil
	}
	return r.copyFrom(to, path, "a symbolic link to "+to+", which is this segment; that file stays")
}

// isSegment reports whether a file is a segment of this spool with the given number.
func (r *repairer) isSegment(path string, n uint64, id *identity) bool {
	f, err := r.fs.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return false
	}
	src, err := segment.NewReader(f, size, &segment.ReadOptions{Segment: n})
	return err == nil && src.Header().Spool == id.Spool && src.Header().Class == id.Class
}

// cureFor returns the cure for a refusal of Open; nil if there is none that loses nothing.
func (r *repairer) cureFor(refused error) *cure {
	var at *fs.PathError
	switch {
	case errors.Is(refused, errAdoption):
		return r.putAside("it cannot be used, and the destinations tell what was delivered", adoptedName)
	case errors.As(refused, &at) && errors.Is(refused, vfs.ErrLink):
		if fi, err := r.fs.Stat(at.Path); err != nil || !vfs.HasOtherNames(fi) || r.cures != nil && r.isCured(at.Path) {
			return nil
		}
		c, err := r.copyFrom(at.Path, at.Path, "the file has other names (hard links), which would change with it; they keep the file that it is now")
		if err != nil {
			return nil
		}
		return c
	case r.o.Identity != nil && !r.sound && errors.Is(refused, ErrCorrupt) && !r.isCured(filepath.Join(r.dir, identityName)):
		return r.restoreIdentity()
	}
	return nil
}

func (r *repairer) isCured(path string) bool {
	for _, c := range r.cures {
		if filepath.Join(r.dir, filepath.FromSlash(c.Path)) == path {
			return true
		}
	}
	return false
}

// restoreIdentity returns the cure that restores spool.json from the operator's copy; nil if the copy is not an
// identity, or vouchFor rejects it.
func (r *repairer) restoreIdentity() *cure {
	mem := vfs.NewMem()
	path := filepath.Join(r.dir, identityName)
	if mem.MkdirAll(r.dir) != nil || vfs.WriteFileAtomic(mem, path, bytes.Clone(r.o.Identity)) != nil {
		return nil
	}
	id, err := loadIdentity(mem, r.dir)
	if err != nil {
		return nil
	}
	if !r.vouchFor(id) {
		return nil
	}
	c := &cure{Change: Change{What: "create", Path: identityName, Why: "restored from the copy that was given"}}
	if fi, err := r.fs.Stat(path); err == nil {
		c.What, c.Size = "replace", fi.Size()
	}
	c.show = func(view vfs.FS) error { return id.save(view, r.dir) }
	c.do = func(string) error { return id.save(r.fs, r.dir) }
	return c
}

// vouchFor reports whether the identity may be that of the directory's spool: no segment names another one, and if other kinds of
// files name a spool, at least one names this one. It raises the epoch to the highest one in the files, because the copy may be older.
func (r *repairer) vouchFor(id *identity) bool {
	yes, no := 0, 0
	for i, of := range newSite(nil, r.dir, r.fs, Options{}).witnesses() {
		found, err := of()
		switch {
		case err != nil:
			return false
		case found == nil:
		case found.Spool == id.Spool && (found.Class == "" || found.Class == id.Class):
			yes++
			id.Epoch = max(id.Epoch, found.Epoch)
		case i == 0:
			return false
		default:
			no++
		}
	}
	return yes > 0 || no == 0
}
