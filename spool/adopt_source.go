package spool

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

// sourceName is the file in an adopter's own directory that says from which state of the source everything else there was made.
const sourceName = "source.json"

// sourceMark is the contents of that file.
type sourceMark struct {
	Version int    `json:"version"` // 1
	State   string `json:"state"`   // see source.state
}

// prepareWork makes the directory of an adopter, and empties one that was made from another state of the source.
//
// The adopter sees the files in work in the place of the source's: see vfs.Overlay. If the owner uses its volume again before everything
// is delivered, it may continue the segment of which work has a sealed copy. The new records would then be invisible, and the volume would
// count as delivered without them.
func (src *source) prepareWork(work string, log *slog.Logger) error {
	state, err := src.state()
	if err != nil {
		return err
	}
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
	if entries, rerr := src.fs.ReadDir(work); rerr == nil && len(entries) > 0 {
		log.Warn("spool: the directory may have changed since its last adoption; starting over, so that nothing new in it is overlooked, and what was delivered is found at the destinations",
			"dir", src.dir, "why", why)
		if err := src.clearWork(work); err != nil {
			return err
		}
	}
	if err := src.fs.MkdirAll(work); err != nil {
		return err
	}
	b, err := statefile.Seal(sourceMark{1, state})
	if err != nil {
		return err
	}
	return vfs.WriteFileAtomic(src.fs, filepath.Join(work, sourceName), b)
}

// clearWork removes an adopter's directory durably, before another one gets its name: a power cut must not bring its files back.
func (src *source) clearWork(work string) error {
	lock, err := src.fs.Lock(filepath.Join(work, lockName), "")
	switch {
	case errors.Is(err, vfs.ErrLocked): // by a process of this host, whose source has no lock file
		return fmt.Errorf("%w: %w", ErrLocked, err)
	case err == nil:
		defer lock.Close()
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	removeTree(src.fs, work)
	if _, err := src.fs.Stat(work); !errors.Is(err, fs.ErrNotExist) {
		return errors.Join(err, fmt.Errorf("cannot remove %s, which was made from another state of %s: remove it", work, src.dir))
	}
	return src.fs.SyncDir(filepath.Dir(work))
}

// state returns a hash of what every use of the source by an owner changes: the small files, which say when a process has begun and
// ended and how far the log is, and the names and sizes of all others. It does not depend on times of files, which differ in a copy.
// What an operator changes in damaged/ is no use.
func (src *source) state() (string, error) {
	h := sha256.New()
	for _, dir := range []string{"", segDir, stageDir, chainDir} {
		entries, err := src.fs.ReadDir(filepath.Join(src.dir, dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		for _, e := range entries {
			name := filepath.Join(dir, e.Name())
			if e.IsDir() || name == lockName || name == adoptedName || strings.HasSuffix(name, vfs.TempSuffix) {
				continue
			}
			if err := src.addFile(h, name, e, dir == "" && name != index.FileName); err != nil {
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
	fmt.Fprintf(h, "%v %x\n", err == nil, sha256.Sum256(b)) // what the disk does not return is as it was the last time
	return nil
}
