package fileship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/ship"
)

// maxDepth bounds the walk.
const maxDepth = 32

// List implements ship.Lister. It holds the names of one directory per level in memory. Symbolic links are followed, as Put
// follows them; a link to a directory above itself is skipped.
func (d *Destination) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		// Begin in the deepest directory that prefix names in full.
		dir := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i]
		}
		err := d.mounted()
		if err == nil && dir != "" {
			err = ship.CheckKey(dir)
		}
		if err != nil {
			yield(ship.Entry{}, wrap("list", prefix, err))
			return
		}
		w := &walker{d: d, prefix: prefix, yield: yield}
		w.walk(ctx, dir)
	}
}

// walker is one List.
type walker struct {
	d      *Destination
	prefix string
	yield  func(ship.Entry, error) bool
}

// walk yields the files below dir whose keys begin with prefix, and reports whether to go on. It enters only directories that
// can hold such keys, so that an audit of one hour does not wait for a year's listing.
func (w *walker) walk(ctx context.Context, dir string) bool {
	fail := func(key string, err error) bool {
		w.yield(ship.Entry{}, wrap("list", key, err))
		return false
	}
	if strings.Count(dir, "/") > maxDepth {
		return fail(dir, fmt.Errorf("more than %d directories deep", maxDepth))
	}
	entries, err := w.d.readDir(dir, w.prefix)
	if err = errors.Join(err, ctx.Err()); err != nil {
		if ctx.Err() == nil && errors.Is(wrap("", "", err), fs.ErrNotExist) {
			return true // removed since its parent was read, or never there
		}
		return fail(dir, err)
	}
	for _, e := range entries {
		if err := ctx.Err(); err != nil {
			return fail(e.Key, err)
		}
		key, isDir := strings.CutSuffix(e.Key, "/")
		if !isDir {
			if !w.yield(e.Entry, nil) {
				return false
			}
			continue
		}
		if e.linked {
			if loop, err := w.d.loops(key); err != nil {
				return fail(key, err)
			} else if loop {
				continue
			}
		}
		if !w.walk(ctx, key) {
			return false
		}
	}
	return true
}

// entry is an entry of a directory; the keys of directories end in a slash.
type entry struct {
	ship.Entry
	linked bool // by a symbolic link
}

// readDir returns the entries of a directory that matter for prefix, in the byte order of the keys that they lead to: "a-b"
// comes before "a/c", and "a0" after it.
func (d *Destination) readDir(dir, prefix string) (entries []entry, err error) {
	all, err := os.ReadDir(d.path(dir))
	if err != nil {
		return nil, err
	}
	for _, e := range all {
		key := path.Join(dir, e.Name())
		below := strings.HasPrefix(key+"/", prefix) || strings.HasPrefix(prefix, key+"/")
		if key == tmp || !below && !strings.HasPrefix(key, prefix) {
			continue // temporary files, or no key of it can begin with prefix
		}
		linked := e.Type()&fs.ModeSymlink != 0
		if e.IsDir() {
			if below {
				entries = append(entries, entry{ship.Entry{Key: key + "/"}, false})
			}
			continue
		}
		var fi fs.FileInfo
		if linked {
			fi, err = os.Stat(d.path(key))
		} else {
			fi, err = e.Info()
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			// Removed since its directory was read, so that a listing a moment later would not show it either; or a dangling
			// link.
		case err != nil:
			return nil, err
		case fi.IsDir() && below:
			entries = append(entries, entry{ship.Entry{Key: key + "/"}, linked})
		case fi.Mode().IsRegular() && strings.HasPrefix(key, prefix):
			entries = append(entries, entry{ship.Entry{Key: key, Size: fi.Size()}, linked})
		}
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, nil
}

// loops reports whether a link leads to a directory above it, in which the walk already is: one that the link's key passes
// through, directly or by other links.
func (d *Destination) loops(key string) (bool, error) {
	there, err := filepath.EvalSymlinks(d.path(key))
	for dir := key; err == nil && dir != "."; {
		dir = path.Dir(dir)
		var here string
		if here, err = filepath.EvalSymlinks(d.path(dir)); err != nil {
			break
		}
		if rel, err := filepath.Rel(there, here); err == nil && rel != ".." && !strings.HasPrefix(rel, ".."+string(filepath.Separator)) {
			d.o.Logger.Warn("fileship: a link leads to a directory above itself, and is passed over in lists", "location", d.Location(), "link", d.path(key))
			return true, nil
		}
	}
	return false, err
}
