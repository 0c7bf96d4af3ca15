package fileship

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/ship"
)

// List implements ship.Lister. It holds the names of one directory per level in memory.
func (d *Destination) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		// Everything below the deepest directory that the prefix names in full.
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
		d.walk(ctx, dir, prefix, yield)
	}
}

// walk yields what lies below dir and begins with prefix, and reports whether to go on. It enters only directories that
// can hold such keys: an auditor who asks for one hour does not wait for a year.
func (d *Destination) walk(ctx context.Context, dir, prefix string, yield func(ship.Entry, error) bool) bool {
	entries, err := os.ReadDir(d.path(dir))
	if err = errors.Join(err, ctx.Err()); err != nil {
		if ctx.Err() == nil && errors.Is(wrap("", "", err), fs.ErrNotExist) {
			return true // removed since its parent was read, or never there
		}
		yield(ship.Entry{}, wrap("list", dir, err))
		return false
	}
	// Byte order of keys is not the order of names: "a-b" comes before "a/c", "a0" behind it.
	key := func(e fs.DirEntry) string {
		if e.IsDir() {
			return path.Join(dir, e.Name()) + "/"
		}
		return path.Join(dir, e.Name())
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return strings.Compare(key(a), key(b)) })
	for _, e := range entries {
		k := key(e)
		switch {
		case k == tmp+"/": // unpublished
		case e.IsDir():
			if (strings.HasPrefix(k, prefix) || strings.HasPrefix(prefix, k)) && !d.walk(ctx, strings.TrimSuffix(k, "/"), prefix, yield) {
				return false
			}
		case e.Type().IsRegular() && strings.HasPrefix(k, prefix):
			fi, err := e.Info()
			// Removed since its directory was read: what a listing taken a moment later would not show either.
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err = errors.Join(err, ctx.Err()); err != nil {
				yield(ship.Entry{}, wrap("list", k, err))
				return false
			}
			if !yield(ship.Entry{Key: k, Size: fi.Size()}, nil) {
				return false
			}
		}
	}
	return true
}
