package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// sourceName is the file in an adopter's own directory that records from which state of the source the other files were made.
const sourceName = "source.json"

// sourceMark is the contents of that file.
type sourceMark struct {
	Version int    `json:"version"` // 1
	State   string `json:"state"`   // see source.state
}

// prepareWork makes the directory of an adopter, takes its lock, and empties it if it was made from another state of the source.
//
// The adopter sees the files in work instead of the source's: see vfs.Overlay. If the owner uses its volume again before everything
// is delivered, it may continue the segment of which work has a sealed copy. The new records would then be invisible, and the volume
// would count as delivered without them. Two copies of a volume share one directory in Work, so the lock is held from before the mark
// is read until the spool is closed. Otherwise the adopter of another copy could put its files here in between.
func (src *source) prepareWork(work, holder string, log *slog.Logger) error {
	state, err := src.state()
	if err != nil {
		return err
	}
	if err := src.fs.MkdirAll(work); err != nil {
		return err
	}
	lock, err := src.fs.Lock(filepath.Join(work, lockName), holder)
	if errors.Is(err, vfs.ErrLocked) { // by the adopter of a copy of this volume, or of this one if it has no lock file
		return fmt.Errorf("%w: %w", ErrLocked, err)
	}
	if err != nil {
		return err
	}
	src.work = lock
	var was sourceMark
	err = statefile.Load(src.fs, filepath.Join(work, sourceName), 1<<12, 1, &was)
	if statefile.AnswerTo(err) == statefile.Refused {
		return err
	}
	why := "its owner has used it"
	switch {
	case err != nil:
		why = err.Error()
	case was.State == state:
		return nil
	}
	if entries, rerr := src.fs.ReadDir(work); rerr == nil && len(entries) > 1 { // more than the lock
		log.Warn("spool: the directory may have changed since its last adoption; starting over, so that nothing new in it is overlooked, and what was delivered is found at the destinations",
			"dir", src.dir, "why", why)
		if err := emptyWork(src.fs, work); err != nil {
			return fmt.Errorf("cannot empty %s, which was made from another state of %s: remove it: %w", work, src.dir, err)
		}
	}
	b, err := statefile.Seal(sourceMark{1, state})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(src.fs, filepath.Join(work, sourceName), b)
}

// emptyWork removes everything in an adopter's directory but the lock, which the caller holds. It syncs, because a power cut must not
// bring the files back. The mark of their state is removed first: without it, nobody uses the files that remain after a kill.
func emptyWork(fsys vfs.FS, work string) error {
	err := fsys.Remove(filepath.Join(work, sourceName))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := fsys.SyncDir(work); err != nil {
		return err
	}
	entries, err := fsys.ReadDir(work)
	if err != nil {
		return err
	}
	for _, e := range entries {
		path := filepath.Join(work, e.Name())
		switch {
		case e.Name() == lockName:
		case e.IsDir():
			removeTree(fsys, path)
		default:
			_ = fsys.Remove(path)
		}
	}
	if entries, err = fsys.ReadDir(work); err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != lockName {
			return fmt.Errorf("%s is still there", e.Name())
		}
	}
	return fsys.SyncDir(work)
}

// removeWork removes an adopter's directory that is not needed any more, as far as it can. It does so while it holds lock, the
// directory's own: an adopter that comes next finds no directory, and makes one. Only where open files cannot be removed, the
// directory is removed after the lock is released.
func removeWork(fsys vfs.FS, work string, lock io.Closer) error {
	_ = emptyWork(fsys, work)
	held := fsys.Remove(filepath.Join(work, lockName)) // before the lock is released
	_ = fsys.Remove(work)
	err := lock.Close()
	if held != nil {
		_ = fsys.Remove(filepath.Join(work, lockName))
		_ = fsys.Remove(work)
	}
	return err
}

// removeLeft removes the directory that an adopter has left by a crash after MarkAdopted, unless the adopter of a copy of the volume
// uses it.
func removeLeft(fsys vfs.FS, work string) {
	lock, err := fsys.Lock(filepath.Join(work, lockName), "")
	switch {
	case err == nil:
		_ = removeWork(fsys, work, lock)
	case errors.Is(err, fs.ErrNotExist): // no adopter has begun there
		removeTree(fsys, work)
	}
}

// stateFiles are the small files of a spool. Files of other programs in the directory may be readable by nobody but root, or change
// at any time, and say nothing about the spool.
var stateFiles = map[string]bool{identityName: true, cleanName: true, frozenName: true, lifeName: true, begunName: true, ledgerName: true}

// state returns a hash that changes whenever an owner uses the source. It covers the small files, which say when a process has begun
// and ended and how long the log is, and the names and sizes of all others. It does not depend on times of files, which differ in a
// copy, nor on files in damaged/, which an operator may change without using the spool.
func (src *source) state() (string, error) {
	h := sha256.New()
	for _, dir := range []string{"", segDir, stageDir, chainDir} {
		entries, err := src.fs.ReadDir(filepath.Join(src.dir, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			foreign := dir == "" && !stateFiles[name] && name != index.FileName
			if e.IsDir() || foreign || strings.HasSuffix(name, vfs.TempSuffix) {
				continue
			}
			if err := src.addFile(h, name, e, stateFiles[name]); err != nil {
				return "", err
			}
		}
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// addFile adds a file to a hash, with its contents if it is small.
func (src *source) addFile(h hash.Hash, name string, e fs.DirEntry, small bool) error {
	fi, err := e.Info()
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%q %d\n", filepath.ToSlash(name), fi.Size())
	if !small {
		return nil
	}
	b, err := persist(nil, func(bool) ([]byte, error) {
		return vfs.ReadFile(src.fs, filepath.Join(src.dir, name), maxIdentity)
	})
	if statefile.Denied(err) {
		return err
	}
	fmt.Fprintf(h, "%v %x\n", err == nil, sha256.Sum256(b)) // a file that the disk cannot read adds the same each time
	return nil
}
