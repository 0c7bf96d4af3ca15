package index

import (
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

var _ OpenFunc = openBolt

// openBolt opens the index of a directory of the operating system, the only kind that bbolt can use; fsys is for the mark and for
// setting files aside.
func openBolt(fsys vfs.FS, dir string, log *slog.Logger) (Index, bool, error) {
	x := &boltIndex{fsys: fsys, dir: dir, log: log}
	_, err := fsys.Stat(filepath.Join(dir, MarkName))
	suspect := err == nil
	if err := setMark(fsys, dir); err != nil {
		// Without the mark the worst case is one more crash; a full disk must not prevent the spool from emptying itself.
		log.Warn("spool: opening the index without a mark that it is open; a crash now may cost one more start: see what the disk reports", "dir", dir, "err", err)
	}
	err = x.check()
	switch { // err below is why the existing file, if any, cannot be used
	case err == nil && suspect:
		err = damaged("the index was lost while open, or the process ended while opening it")
	case err == nil:
		x.db, err = startBolt(x.path(), false)
	case errors.Is(err, fs.ErrNotExist):
	case errors.Is(err, statefile.ErrNewer):
		if !suspect {
			_ = clearMark(fsys, dir) // nothing was touched, and the spool does not open
		}
		return nil, false, err
	case !isDamage(err):
		return nil, false, lost(err) // the mark stays: the spool continues without updating the file
	}
	rebuild := err != nil
	if rebuild {
		if !errors.Is(err, fs.ErrNotExist) {
			log.Warn("spool: moving the index aside; it is rebuilt from the segments, and no record is concerned: see what the disk reports", "dir", dir, "err", err)
			if err := setAside(fsys, dir, time.Now()); err != nil {
				return nil, false, lost(err)
			}
		}
		if x.db, err = startBolt(x.path(), true); err != nil {
			return nil, false, lost(err) // the mark stays, so that an incomplete file is not used
		}
	}
	if err := clearMark(fsys, dir); err != nil {
		log.Warn("spool: the mark of the index stays; the next start rebuilds the index, and no record is concerned: see what the disk reports", "dir", dir, "err", err)
	}
	return x, rebuild, nil
}

// check reads the file before bbolt may map it. fs.ErrNotExist: there is none. Other errors are a damage, statefile.ErrNewer, or the
// reason why the file cannot be opened.
func (x *boltIndex) check() error { return x.read(func(string, []byte) {}) }

// read is check, and also calls each with every entry.
func (x *boltIndex) read(each func(key string, value []byte)) error {
	f, err := x.fsys.Open(x.path())
	if err != nil {
		return err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return err
	}
	err = readFile(f, size, each)
	if err != nil && !errors.Is(err, statefile.ErrNewer) && !isDamage(err) {
		return damaged("the index cannot be read: %v", err)
	}
	return err
}
