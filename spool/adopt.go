package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

var (
	// ErrAdopted: an adopter has delivered everything in the directory, and has marked it.
	ErrAdopted = errors.New("spool: adopted before, everything in it was delivered")
	// ErrReadOnly is returned by every call that adds records to an adopted spool.
	ErrReadOnly = errors.New("spool: an adopted spool accepts no records")
)

// AdoptOptions configure Adopt. The zero value of every field but Work means its documented default.
type AdoptOptions struct {
	// Work is a directory on this host's own disk. Each adopted spool has a directory of its own in it, <class>-<spool id>. It
	// holds every staged file, and every change that Open would make in the source. A later Adopt continues from it. If it is
	// gone, or if an owner has used the source in the meantime, Adopt starts over, and the destinations show what was
	// delivered. Close removes the directory after MarkAdopted. Required.
	Work string
	// Instance names this host in manifests; default the host name.
	Instance string
	// Destinations names the destinations to deliver to; default all that the spool remembers. Names that it does not remember
	// are ignored, unless it remembers none. A destination with pending segments must be here or in Forget: ErrPending.
	Destinations []string
	// Forget names destinations that the operator has given up.
	Forget []string

	MaxBytes     int64 // quota of everything in Work; default 90 % of its file system
	StageWorkers int   // default 2
	Logger       *slog.Logger
}

// source is where an adopted spool comes from.
type source struct {
	fs   vfs.FS
	dir  string
	lock io.Closer   // nil if there is no lock file
	work io.Closer   // the lock of the adopter's directory, until the opened spool takes it over
	done atomic.Bool // everything is delivered
}

// Adopt opens the spool that another process has left behind in dir, to deliver its records: for instance on the disk of an instance
// that is gone. The disk may be mounted read-only. Adopt recovers the same records as Open, and changes nothing in dir before
// MarkAdopted: see AdoptOptions.Work. An adopted spool accepts no records and deletes nothing; everything else works.
//
// The objects depend on the directory alone, so every adopter names and cuts the segments as the
// last owner would have, uses the files that the owner has staged, and recognises the objects that it has delivered. The chains
// continue in the next epoch, which package ship claims at the destinations: of several adopters one wins.
//
// ErrLocked: a process on this host has the spool. ErrAdopted: there is nothing left to do. fs.ErrNotExist: dir holds no
// spool. ErrPending: see AdoptOptions.Destinations.
func Adopt(dir string, o *AdoptOptions) (*Spool, error) {
	return adopt(dir, vfs.OS(), index.Open, o)
}

// adopt is Adopt on any file system and with any index.
func adopt(dir string, fsys vfs.FS, openIndex index.OpenFunc, o *AdoptOptions) (_ *Spool, err error) {
	var d AdoptOptions
	if o != nil {
		d = *o
	}
	if err := checkDir("Adopt", dir); err != nil {
		return nil, err
	}
	if d.Work == "" {
		return nil, errors.New("spool: AdoptOptions.Work is empty: name a directory on this host's own disk")
	}
	if isInside(d.Work, dir) {
		return nil, fmt.Errorf("spool: AdoptOptions.Work %s is inside the spool to adopt, which must not be written to", d.Work)
	}
	src, err := lockSource(fsys, dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, src.close())
		}
	}()
	m, err := loadAdoption(fsys, dir)
	if err != nil {
		return nil, err
	}
	if m != nil {
		removeLeft(fsys, workDir(d.Work, m.Class, m.Spool))
		return nil, fmt.Errorf("%w: %s, by %s at %s", ErrAdopted, dir, m.Instance, m.Time.Format("2006-01-02 15:04:05Z07:00"))
	}
	opts := &Options{
		Instance: d.Instance, Destinations: d.Destinations, Forget: d.Forget, MaxBytes: d.MaxBytes, Logger: d.Logger,
		StageWorkers: d.StageWorkers, SegmentBytes: minSegmentBytes, // nothing is appended, so nothing is reserved for it
	}
	full := opts.withDefaults()
	id, err := src.identity()
	if err != nil {
		return nil, err
	}
	work := workDir(d.Work, id.Class, id.Spool)
	full.Class = id.Class
	if err := src.prepareWork(work, holder(&full), full.Logger.With("class", id.Class, "spool", id.Spool)); err != nil {
		return nil, fmt.Errorf("spool: %w", err)
	}
	if id, err = claim(fsys, work, id, full.Instance); err != nil {
		return nil, err
	}
	opts.Class = id.Class
	opts.Destinations = id.known(d.Destinations)
	// Only files of the spool are overlaid. The index holds nothing that the files do not, and bbolt must not open the index of
	// the source.
	ix := func(_ vfs.FS, dir string, log *slog.Logger) (index.Index, bool, error) {
		return openIndex(fsys, dir, log)
	}
	return openFrom(src, work, vfs.Overlay(fsys, dir, work), ix, opts)
}

// workDir returns the adopter's directory for one spool.
func workDir(work, class, id string) string { return filepath.Join(work, class+"-"+id) }

// isInside reports whether a path is dir or is below it.
func isInside(path, dir string) bool {
	a, err1 := filepath.Abs(path)
	b, err2 := filepath.Abs(dir)
	rel, err3 := filepath.Rel(b, a)
	return errors.Join(err1, err2, err3) == nil && filepath.IsLocal(rel)
}

// lockSource locks the source, so that no process of this host opens the spool meanwhile. It does not change the lock file.
func lockSource(fsys vfs.FS, dir string) (*source, error) {
	if _, err := fsys.Stat(filepath.Join(dir, segDir)); err != nil {
		return nil, fmt.Errorf("spool: %s holds no spool: %w", dir, err)
	}
	// The adopter's own directories may be there already, and hide what has taken the place of the source's: see vfs.Overlay.
	if err := refuseLinks(fsys, dir); err != nil {
		return nil, err
	}
	lock, err := fsys.Lock(filepath.Join(dir, lockName), "")
	switch {
	case errors.Is(err, vfs.ErrLocked):
		return nil, fmt.Errorf("%w: %w", ErrLocked, err)
	case errors.Is(err, fs.ErrNotExist):
		lock = nil
	case err != nil:
		return nil, fmt.Errorf("spool: %w", err)
	}
	return &source{fs: fsys, dir: dir, lock: lock}, nil
}

func (src *source) close() (err error) {
	if src == nil {
		return nil
	}
	for _, lock := range []io.Closer{src.work, src.lock} {
		if lock != nil {
			err = errors.Join(err, lock.Close())
		}
	}
	return err
}

// identity returns whose spool the source is.
func (src *source) identity() (*identity, error) {
	id, err := readIdentity(src.fs, src.dir)
	if !isLost(err) {
		return id, err
	}
	found, serr := (&site{dir: src.dir, fs: src.fs}).namedIdentity()
	if serr != nil || found == nil {
		return nil, errors.Join(err, serr)
	}
	return found, nil
}

// claim makes the adopter's identity durable in work, once, with the next epoch: an adopter is another owner even if its instance
// has the name of the last owner.
func claim(fsys vfs.FS, work string, from *identity, instance string) (*identity, error) {
	id, err := readIdentity(fsys, work)
	if !isLost(err) {
		return id, err // openIdentity looks at the instance
	}
	// An adopter whose identity is lost starts over, as one on another host would.
	if err := from.nextEpoch(instance); err != nil {
		return nil, err
	}
	return from, from.save(fsys, work)
}

// known returns the given destinations that the spool must deliver to: all of them by default.
func (id *identity) known(given []string) (names []string) {
	for name, rem := range id.Destinations {
		if rem.Forgotten.IsZero() && (len(given) == 0 || slices.Contains(given, name)) {
			names = append(names, name)
		}
	}
	if len(id.Destinations) == 0 {
		names = slices.Clone(given)
	}
	slices.Sort(names)
	return names
}

// Source returns the source directory of an adopted spool, "" for a spool that Open has opened.
func (s *Spool) Source() string {
	if s.source == nil {
		return ""
	}
	return s.source.dir
}

// holder names the process that takes a lock.
func holder(o *Options) string {
	return fmt.Sprintf("process %d of %s, class %s", os.Getpid(), o.Instance, o.Class)
}
