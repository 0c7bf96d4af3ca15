package vfs

import (
	"errors"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// removedSuffix is the suffix of an empty file that hides a file of the tree below: the only way to remove that file without
// changing the tree. A file of the upper tree is never hidden, so that creating one needs no second step.
const removedSuffix = ".removed"

// Overlay shows the tree at lower under the paths of upper, and changes nothing in lower: written, created and removed files
// are recorded in upper, which may be on the same file system or another. A file of lower is copied before it is opened for
// writing. Upper is as durable as any directory, so that a new Overlay of the same trees shows what the last one did.
//
// Nothing else may change either tree meanwhile.
func Overlay(fsys FS, lower, upper string) FS {
	return &overlay{low: fsys, lower: lower, up: fsys, upper: upper}
}

// Preview shows the tree at dir under its own paths, and keeps all changes in memory: it is for trying out what a program would
// do. It copies no file of the tree below: it keeps only the changed pages of a file that is written to, and the old path of a
// file that is renamed.
func Preview(fsys FS, dir string) FS {
	return &overlay{
		low: fsys, lower: dir, up: NewMem(), upper: dir, preview: true, moved: map[string]string{}, patches: map[string]*patch{},
	}
}

// Substitute shows, under path in a Preview, a copy of the file at low, which may be anywhere in the file system below.
func Substitute(preview FS, path, low string) error {
	o := preview.(*overlay)
	fi, err := o.low.Stat(low)
	if err != nil {
		return err
	}
	if err := Conceal(preview, path); err != nil {
		return err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.moved[path], o.patches[low] = low, newPatch(fi.Size())
	return nil
}

// Conceal hides a name of the tree below in a Preview, whatever it is, even a dangling symbolic link.
func Conceal(preview FS, path string) error {
	o := preview.(*overlay)
	o.leave(path)
	if err := o.up.MkdirAll(filepath.Dir(path)); err != nil {
		return err
	}
	if err := o.hide(path); !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

type overlay struct {
	low   FS
	lower string
	up    FS
	upper string

	preview bool // see Preview
	mu      sync.Mutex
	moved   map[string]string // the paths in the lower tree of renamed files, by their new paths
	patches map[string]*patch // by path in the lower tree
}

// movedFrom returns the file of the lower tree that was renamed to this path in a Preview.
func (o *overlay) movedFrom(path string) (low string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	low, ok = o.moved[path]
	return low, ok
}

// below returns the path in the lower tree, and whether a file or directory is visible there.
func (o *overlay) below(path string) (string, bool, error) {
	if low, ok := o.movedFrom(path); ok {
		return low, true, nil
	}
	rel, err := filepath.Rel(o.upper, path)
	if err != nil || rel == ".." || strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
		return "", false, nil
	}
	low := filepath.Join(o.lower, rel)
	for _, probe := range []struct {
		fsys FS
		path string
		want bool
	}{{o.low, low, true}, {o.up, path + removedSuffix, false}} {
		_, err := probe.fsys.Stat(probe.path)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", false, err
		}
		if (err == nil) != probe.want {
			return "", false, nil
		}
	}
	return low, true, nil
}

// either calls up for the upper tree and, if there is no such file, below for the lower one.
func either[T any](o *overlay, path string, up, below func(string) (T, error)) (T, error) {
	v, err := up(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return v, err
	}
	low, ok, berr := o.below(path)
	if berr != nil || !ok {
		return v, errors.Join(berr, err)
	}
	return below(low)
}

func (o *overlay) Create(path string) (File, error) {
	_, ok, err := o.below(path)
	if ok {
		err = &fs.PathError{Op: "create", Path: path, Err: fs.ErrExist}
	}
	if err != nil {
		return nil, err
	}
	return o.up.Create(path)
}

func (o *overlay) Open(path string) (File, error) { return either(o, path, o.up.Open, o.openLow) }

func (o *overlay) Stat(path string) (fs.FileInfo, error) { return either(o, path, o.up.Stat, o.stat) }

func (o *overlay) OpenRW(path string) (File, error) {
	f, err := o.up.OpenRW(path)
	if !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	low, ok, berr := o.below(path)
	if berr != nil || !ok {
		return nil, errors.Join(berr, err)
	}
	if o.preview {
		return o.openPatched(path, low)
	}
	if err := o.copyUp(path, low); err != nil {
		return nil, err
	}
	return o.up.OpenRW(path)
}

// copyUp copies a file of the lower tree, durably and atomically.
func (o *overlay) copyUp(path, low string) (err error) {
	src, err := o.low.Open(low)
	if err != nil {
		return err
	}
	defer src.Close()
	size, err := src.Size()
	if err != nil {
		return err
	}
	dst, temp, err := createTemp(o.up, path)
	if err != nil {
		return err
	}
	buf := make([]byte, min(size, 1<<20))
	for off := int64(0); off < size && err == nil; off += int64(len(buf)) {
		buf = buf[:min(int64(len(buf)), size-off)]
		var n int
		if n, err = src.ReadAt(buf, off); n == len(buf) {
			_, err = dst.WriteAt(buf, off)
		} else if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
	}
	if err == nil {
		err = dst.Sync()
	}
	if cerr := dst.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = o.up.Rename(temp, path)
	}
	if err != nil {
		_ = o.up.Remove(temp)
		return err
	}
	return o.up.SyncDir(filepath.Dir(path))
}

// hide hides a file of the lower tree durably. It must be called before the upper file is removed: otherwise a power cut could
// bring back the lower one, which is older.
func (o *overlay) hide(path string) error {
	f, err := o.up.Create(path + removedSuffix)
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return o.up.SyncDir(filepath.Dir(path))
}

func (o *overlay) Rename(oldpath, newpath string) error {
	low, ok, err := o.below(oldpath)
	if err != nil {
		return err
	}
	_, err = o.up.Stat(oldpath)
	absent := errors.Is(err, fs.ErrNotExist)
	switch {
	case o.preview && ok && absent:
		return o.move(oldpath, newpath, low)
	case o.preview && !absent:
		o.leave(newpath)
	}
	if ok {
		if absent {
			if err := o.copyUp(oldpath, low); err != nil {
				return err
			}
		}
		if err := o.hide(oldpath); err != nil {
			return err
		}
	}
	return o.up.Rename(oldpath, newpath)
}

// move is Rename for a file of the lower tree in a Preview.
func (o *overlay) move(oldpath, newpath, low string) error {
	if err := o.up.Remove(newpath); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if !o.leave(oldpath) {
		if err := o.hide(oldpath); err != nil {
			return err
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.moved[newpath] = low
	return nil
}

// leave removes a path that a Preview has given to a renamed file, and reports whether there was one. The file that the lower
// tree has under that path stays hidden, because it was replaced.
func (o *overlay) leave(path string) bool {
	if _, ok := o.movedFrom(path); !ok {
		return false
	}
	o.mu.Lock()
	delete(o.moved, path)
	o.mu.Unlock()
	if _, ok, err := o.below(path); err == nil && ok {
		_ = o.hide(path) // in memory, so it can fail only if the mark already exists
	}
	return true
}

func (o *overlay) Remove(path string) error {
	if o.leave(path) {
		return nil
	}
	_, ok, err := o.below(path)
	if err != nil {
		return err
	}
	if ok {
		if err := o.hide(path); err != nil {
			return err
		}
	}
	err = o.up.Remove(path)
	if ok && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (o *overlay) ReadDir(path string) ([]fs.DirEntry, error) {
	up, err := o.up.ReadDir(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	low, ok, berr := o.below(path)
	if berr != nil || !ok {
		return seen(up), errors.Join(berr, err)
	}
	all, err := o.low.ReadDir(low)
	if err != nil {
		return nil, err
	}
	hidden := make(map[string]bool, len(up))
	for _, e := range up {
		hidden[strings.TrimSuffix(e.Name(), removedSuffix)] = true
	}
	all = slices.DeleteFunc(slices.Clone(all), func(e fs.DirEntry) bool { return hidden[e.Name()] })
	all = append(all, seen(up)...)
	if all, err = o.arrived(path, all); err != nil {
		return nil, err
	}
	slices.SortFunc(all, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return all, nil
}

// arrived adds to a listing the files that a Preview has renamed into the directory; they replace others of the same name.
func (o *overlay) arrived(dir string, all []fs.DirEntry) ([]fs.DirEntry, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for path, low := range o.moved {
		if filepath.Dir(path) != filepath.Clean(dir) {
			continue
		}
		fi, err := o.low.Stat(low) // without its patch: nobody reads sizes from a directory listing
		if err != nil {
			return nil, err
		}
		name := filepath.Base(path)
		all = slices.DeleteFunc(all, func(e fs.DirEntry) bool { return e.Name() == name })
		all = append(all, fs.FileInfoToDirEntry(namedInfo{fi, name}))
	}
	return all, nil
}

// namedInfo is the FileInfo of a file under another name.
type namedInfo struct {
	fs.FileInfo
	name string
}

func (i namedInfo) Name() string { return i.name }

// seen leaves out the marks that only hide files.
func seen(entries []fs.DirEntry) []fs.DirEntry {
	return slices.DeleteFunc(slices.Clone(entries), func(e fs.DirEntry) bool { return strings.HasSuffix(e.Name(), removedSuffix) })
}

func (o *overlay) MkdirAll(path string) error { return o.up.MkdirAll(path) }

// SyncDir has nothing to do for a directory that exists only in the lower tree.
func (o *overlay) SyncDir(path string) error {
	err := o.up.SyncDir(path)
	if errors.Is(err, fs.ErrNotExist) {
		if _, ok, berr := o.below(path); ok || berr != nil {
			return berr
		}
	}
	return err
}

func (o *overlay) Space(path string) (total, free int64, err error) { return o.up.Space(path) }

func (o *overlay) Lock(path, holder string) (io.Closer, error) { return o.up.Lock(path, holder) }
