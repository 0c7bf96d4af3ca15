package sftpship

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/penstock-go/penstock/ship"
)

// maxDepth bounds the walk: a symbolic link may lead back up.
const maxDepth = 32

// List implements ship.Lister. It walks the directories one at a time, depth first, so that memory is bounded by the
// largest of them; no connection is held while the caller's loop body runs.
func (h *Host) List(ctx context.Context, prefix string) iter.Seq2[ship.Entry, error] {
	return func(yield func(ship.Entry, error) bool) {
		// Begin in the deepest directory that prefix names in full.
		dir := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i]
		}
		if dir != "" && checkKey(dir) != nil {
			return // no key begins like that
		}
		h.walk(ctx, dir, prefix, 0, yield)
	}
}

// walk lists what lies below dir and begins with prefix. It returns false when the iteration is over.
func (h *Host) walk(ctx context.Context, dir, prefix string, depth int, yield func(ship.Entry, error) bool) bool {
	if depth > maxDepth {
		return yield(ship.Entry{}, h.wrap("list "+dir, fmt.Errorf("more than %d directories deep: a symbolic link to a directory above itself?", maxDepth))) && false
	}
	entries, err := h.readDir(ctx, dir, prefix)
	if err != nil {
		yield(ship.Entry{}, err)
		return false
	}
	for _, e := range entries {
		key := path.Join(dir, strings.TrimSuffix(e.Key, "/"))
		switch isDir := strings.HasSuffix(e.Key, "/"); {
		case isDir && !h.walk(ctx, key, prefix, depth+1, yield):
			return false
		case !isDir && !yield(ship.Entry{Key: key, Size: e.Size}, nil):
			return false
		}
	}
	return true
}

// readDir returns the entries of a directory that matter for prefix, in the byte order of the keys they lead to; the
// names of directories end in a slash, which is also what puts "a.b" before what lies in "a/".
func (h *Host) readDir(ctx context.Context, dir, prefix string) (entries []ship.Entry, err error) {
	err = h.do(ctx, "list "+dir, func(s *session) error {
		entries = entries[:0]
		files, err := s.sftp.ReadDirContext(ctx, h.path(dir))
		switch {
		case errors.Is(err, fs.ErrNotExist) && dir == "":
			return h.noBase()
		case errors.Is(err, fs.ErrNotExist):
			// Nothing there; unless the whole destination is gone, which must not pass for empty.
			if _, err := s.stat(h.place.dir); errors.Is(err, fs.ErrNotExist) {
				return h.noBase()
			} else if err != nil {
				return h.explain(h.place.dir, err)
			}
			return nil
		case err != nil:
			return h.explain(h.path(dir), err)
		}
		for _, fi := range files {
			key := path.Join(dir, fi.Name())
			// Directories on the way to prefix and those inside it; files that begin with it.
			below := strings.HasPrefix(key+"/", prefix) || strings.HasPrefix(prefix, key+"/")
			if key == tmpDir || !below && !strings.HasPrefix(key, prefix) {
				continue
			}
			if fi.Mode()&os.ModeSymlink != 0 {
				// Put follows links that an operator has laid, and so must this.
				if fi, err = s.stat(h.path(key)); errors.Is(err, fs.ErrNotExist) {
					continue
				} else if err != nil {
					return h.explain(h.path(key), err)
				}
			}
			name := path.Base(key)
			switch {
			case fi.IsDir() && below:
				entries = append(entries, ship.Entry{Key: name + "/"})
			case fi.Mode().IsRegular() && strings.HasPrefix(key, prefix):
				entries = append(entries, ship.Entry{Key: name, Size: fi.Size()})
			}
		}
		return nil
	})
	// By SFTP, entries come in any order.
	slices.SortFunc(entries, func(a, b ship.Entry) int { return strings.Compare(a.Key, b.Key) })
	return entries, err
}
