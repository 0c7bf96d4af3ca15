package sftpship

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/internal/sftpc"
	"github.com/penstock-go/penstock/ship"
)

const (
	// maxDepth bounds the walk, whatever a server says.
	maxDepth = 32
	// maxEntries and maxNameBytes bound one directory, whatever a server says: a million names, of 128 bytes each.
	maxEntries   = 1 << 20
	maxNameBytes = 128 << 20
	// maxEmpty bounds answers without an entry, which a server must not send.
	maxEmpty = 16
)

var errEndless = errors.New("the server's list of a directory does not end")

// List implements ship.Lister. It walks the directories one at a time, depth first, so that memory is bounded by the largest
// of them; no connection is held while the caller's loop body runs. Symbolic links are followed, as Put follows them; a link
// to a directory above itself is skipped.
func (h *Destination) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		// Begin in the deepest directory that prefix names in full.
		dir := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i]
		}
		if dir != "" && checkKey(dir) != nil {
			return // no key begins like that
		}
		w := &walker{h: h, prefix: prefix, yield: yield}
		w.walk(ctx, dir)
	}
}

// walker is one List.
type walker struct {
	h      *Destination
	prefix string
	yield  func(ship.Entry, error) bool
}

// walk lists the files below dir whose keys begin with prefix. It returns false when the iteration is over.
func (w *walker) walk(ctx context.Context, dir string) bool {
	if strings.Count(dir, "/") > maxDepth {
		return w.yield(ship.Entry{}, w.h.wrap("list "+dir, fmt.Errorf("more than %d directories deep", maxDepth))) && false
	}
	entries, err := w.h.readDir(ctx, dir, w.prefix)
	if err != nil {
		w.yield(ship.Entry{}, err)
		return false
	}
	for _, e := range entries {
		key := path.Join(dir, strings.TrimSuffix(e.Key, "/"))
		switch isDir := strings.HasSuffix(e.Key, "/"); {
		case !isDir && !w.yield(ship.Entry{Key: key, Size: e.Size}, nil):
			return false
		case isDir:
			loop := false
			if e.linked {
				if loop, err = w.loops(ctx, key); err != nil {
					w.yield(ship.Entry{}, err)
					return false
				}
			}
			if !loop && !w.walk(ctx, key) {
				return false
			}
		}
	}
	return true
}

// loops reports whether a link leads to a directory above it, in which the walk already is: one that the link's key passes
// through, directly or by other links.
func (w *walker) loops(ctx context.Context, key string) (loop bool, err error) {
	err = w.h.do(ctx, "list "+key, func(t *turn) error {
		loop = false
		to := t.RealPath(w.h.path(key))
		var above []*sftpc.Pending[string]
		for dir := key; dir != "."; {
			dir = path.Dir(dir)
			above = append(above, t.RealPath(w.h.path(dir)))
		}
		there, err := to.Wait()
		for _, a := range above {
			here, herr := a.Wait()
			err = first(err, herr)
			loop = loop || err == nil && leadsTo(here, there)
		}
		if err != nil {
			return w.h.explain(w.h.path(key), err)
		}
		return nil
	})
	if loop {
		w.h.complain([]string{fmt.Sprintf("%s is a link to a directory above itself, and is passed over in lists", w.h.path(key))})
	}
	return loop, err
}

// entry is an entry of a directory; the names of directories end in a slash.
type entry struct {
	ship.Entry
	linked bool // by a symbolic link
}

// readDir returns the entries of a directory that matter for prefix, in the byte order of the keys that they lead to. The
// slash at the end of directories ensures that order: it puts "a.b" before the contents of "a/".
func (h *Destination) readDir(ctx context.Context, dir, prefix string) (entries []entry, err error) {
	err = h.do(ctx, "list "+dir, func(t *turn) error {
		entries = entries[:0]
		var unclear []string // asked about below
		err := t.readDir(ctx, h.path(dir), func(n sftpc.Name) {
			key := path.Join(dir, n.Name)
			// Directories on the way to prefix and those inside it; files that begin with it.
			below := strings.HasPrefix(key+"/", prefix) || strings.HasPrefix(prefix, key+"/")
			if key == tmpDir || !below && !strings.HasPrefix(key, prefix) {
				return
			}
			if n.Kind() == sftpc.Link || isVague(n.Attrs) {
				unclear = append(unclear, n.Name)
				return
			}
			entries = appendEntry(entries, n.Name, n.Attrs, below, strings.HasPrefix(key, prefix), false)
		})
		// Judge the error as for a file in the directory: the list of a file is as empty as that of a missing directory.
		if err = t.clear(ctx, path.Join(h.path(dir), "x"), err); err != nil {
			return h.noDir(ctx, t, dir, err)
		}
		// Put follows links that an operator has made, and so must this.
		for part := range slices.Chunk(unclear, requests) {
			asked := make([]*sftpc.Pending[sftpc.Attrs], len(part))
			for i, name := range part {
				asked[i] = t.Stat(h.path(path.Join(dir, name)))
			}
			for i, name := range part {
				key := path.Join(dir, name)
				a, err := asked[i].Wait()
				switch err = t.clear(ctx, h.path(key), err); {
				case errors.Is(err, fs.ErrNotExist): // a link to nothing
				case err != nil:
					return h.explain(h.path(key), err)
				case isVague(a):
					return ship.Permanent(fmt.Errorf("%s: %w", h.path(key), errVague))
				default:
					below := strings.HasPrefix(key+"/", prefix) || strings.HasPrefix(prefix, key+"/")
					entries = appendEntry(entries, name, a, below, strings.HasPrefix(key, prefix), true)
				}
			}
		}
		return nil
	})
	// By SFTP, entries come in any order.
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, err
}

// isVague reports whether a server has not said what a listing needs: the kind of a file, and the size of a regular one.
func isVague(a sftpc.Attrs) bool {
	return a.Kind() == sftpc.Unknown || a.Kind() == sftpc.Regular && !a.HasSize
}

// errVague: an auditor would call objects missing that are not listed, and altered those of size 0.
var errVague = errors.New("the server does not tell what kind of file this is, or how long, so that it cannot be listed: use another server")

// appendEntry adds a directory on the way to prefix or inside it, or a file that matches it.
func appendEntry(entries []entry, name string, a sftpc.Attrs, below, matches, linked bool) []entry {
	switch {
	case a.Kind() == sftpc.Directory && below:
		return append(entries, entry{ship.Entry{Key: name + "/"}, linked})
	case a.Kind() == sftpc.Regular && matches:
		return append(entries, entry{ship.Entry{Key: name, Size: a.Size}, linked})
	}
	return entries
}

// noDir judges why a directory cannot be listed. A missing directory counts as empty, unless the whole destination is
// missing, which must not count as empty.
func (h *Destination) noDir(ctx context.Context, t *turn, dir string, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return h.explain(h.path(dir), err)
	}
	if dir == "" {
		return h.noBase()
	}
	_, err = t.Stat(h.place.dir).Wait()
	switch err = t.clear(ctx, h.place.dir, err); {
	case errors.Is(err, fs.ErrNotExist):
		return h.noBase()
	case err != nil:
		return h.explain(h.place.dir, err)
	}
	return nil
}

// readDir calls each with the entries of a directory, in the server's order. Two requests are in flight at a time, so that
// the next answer is on its way while one is read.
func (t *turn) readDir(ctx context.Context, dir string, each func(sftpc.Name)) error {
	h, err := t.OpenDir(dir).Wait()
	if err != nil {
		return err
	}
	defer t.Close(h)
	next := t.ReadDir(h)
	bytes, entries, empty := 0, 0, 0
	for {
		current := next
		if err := ctx.Err(); err != nil {
			return err
		}
		next = t.ReadDir(h)
		names, err := current.Wait()
		if errors.Is(err, io.EOF) {
			_ = next.Err()
			return nil
		}
		if err != nil {
			_ = next.Err()
			return err
		}
		if len(names) == 0 {
			empty++
		}
		for _, n := range names {
			bytes += len(n.Name)
			if n.Name != "." && n.Name != ".." && n.Name != "" && !strings.ContainsAny(n.Name, "/\x00") {
				each(n)
			}
		}
		if entries += len(names); entries > t.s.maxEntries || bytes > maxNameBytes || empty > maxEmpty {
			return fmt.Errorf("%s: %w (%d entries so far): if it is real, move what does not belong there away", dir, errEndless, entries)
		}
	}
}
