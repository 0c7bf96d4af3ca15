package index

import (
	"errors"
	"io/fs"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"sync"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// Open opens the index of a directory with bbolt, which maps its file and so needs a file of the operating system. In a file
// system of vfs.Mount, where tests run whole processes in memory, the file of the same name holds the entries as JSON.
func Open(fsys vfs.FS, dir string, log *slog.Logger) (Index, bool, error) {
	if vfs.Mounted(dir) {
		return openPlain(fsys, dir, log)
	}
	return openBolt(fsys, dir, log)
}

// plainIndex keeps bbolt's promises in a file that each transaction replaces: transactions are atomic, and durable once
// Apply has returned. The cost of a transaction grows with the size of the index, which is small in a test.
type plainIndex struct {
	fsys vfs.FS
	dir  string

	mu      sync.Mutex
	entries map[string][]byte
	err     error // once closed or lost
}

var _ Index = (*plainIndex)(nil)

// plainFile is the contents of the file, which is sealed.
type plainFile struct {
	Entries map[string][]byte `json:"entries"`
}

// maxPlain is the largest file that is read.
const maxPlain = 64 << 20

func openPlain(fsys vfs.FS, dir string, log *slog.Logger) (Index, bool, error) {
	x := &plainIndex{fsys: fsys, dir: dir}
	_, err := fsys.Stat(filepath.Join(dir, MarkName))
	behind := err == nil // the index was lost, and is older than the segments
	b, err := vfs.ReadFile(fsys, x.path(), maxPlain)
	if err == nil {
		var f plainFile
		if bad := statefile.Open(b, &f); bad == nil && !behind {
			x.entries = f.Entries
			return x, false, nil
		}
		log.Warn("spool: the index is rebuilt from the segments; no record is concerned, and nothing needs to be done", "dir", dir)
	} else if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, vfs.ErrTooLarge) {
		return nil, false, lost(err)
	}
	if err := x.save(nil); err != nil {
		return nil, false, lost(err)
	}
	if err := clearMark(fsys, dir); err != nil {
		return nil, false, lost(err)
	}
	return x, true, nil
}

func (x *plainIndex) path() string { return filepath.Join(x.dir, FileName) }

func (x *plainIndex) save(entries map[string][]byte) error {
	b, err := statefile.Seal(plainFile{entries})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(x.fsys, x.path(), b)
}

// Load implements Index.
func (x *plainIndex) Load(fn func(key string, value []byte) error) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil {
		return x.err
	}
	for _, k := range slices.Sorted(maps.Keys(x.entries)) {
		if err := fn(k, slices.Clone(x.entries[k])); err != nil {
			return err
		}
	}
	return nil
}

// Apply implements Index.
func (x *plainIndex) Apply(puts []Entry, deletes []string) error {
	if err := checkKeys(puts, deletes); err != nil {
		return err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err != nil || len(puts)+len(deletes) == 0 {
		return x.err
	}
	next := map[string][]byte{}
	maps.Copy(next, x.entries)
	for _, k := range deletes {
		delete(next, k)
	}
	for _, p := range puts {
		next[p.Key] = slices.Clone(p.Value)
	}
	if err := x.save(next); err != nil {
		x.err = lost(err)
		_ = setMark(x.fsys, x.dir) // from here on the file is not updated any more
		return x.err
	}
	x.entries = next
	return nil
}

// Close implements Index.
func (x *plainIndex) Close() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.err == nil {
		x.err = ErrClosed
	}
	return nil
}
