package fileship

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/spool/object"
)

// tmp is the directory of temporary files, which List hides.
const tmp = object.TempDir

// maxDurable bounds the memory of directories that are known to be durable: some months of hours.
const maxDurable = 4096

// mkdir creates a directory and those above it, and makes their names durable, including names that another process
// made and may not have synced. It reports whether some could not be synced.
func (d *Destination) mkdir(dir string) (unsynced bool, err error) {
	d.mu.Lock()
	durable := d.durable[dir]
	d.mu.Unlock()
	if durable {
		return false, nil
	}
	if len(dir) <= len(d.dir) {
		// The destination itself, or a directory above it: if it was there before us, it is not ours to sync.
		if err := isDir(dir); !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	parent := filepath.Dir(dir)
	if unsynced, err = d.mkdir(parent); err != nil {
		return unsynced, err
	}
	if err = os.Mkdir(dir, 0o755); errors.Is(err, fs.ErrExist) {
		err = isDir(dir)
	} else if err == nil && dir == d.dir {
		// A first delivery expects this. But if the directory was there before, its volume is not mounted now.
		d.o.Logger.Warn("fileship: created the destination's directory: if it was there before, see that its volume is mounted", "location", d.Location())
	}
	if err != nil {
		return unsynced, err
	}
	synced, err := syncDir(parent)
	if err != nil || unsynced || !synced {
		return true, err // not remembered: the next call tries again
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.durable) >= maxDurable {
		clear(d.durable)
	}
	d.durable[dir] = true
	return false, nil
}

// forget makes mkdir look again after a directory has disappeared.
func (d *Destination) forget() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.durable)
}

// isDir checks for a directory, also through a symbolic link: an operator may have put an hour's directory elsewhere.
func isDir(path string) error {
	fi, err := os.Stat(path)
	if err == nil && !fi.IsDir() {
		err = &fs.PathError{Op: "mkdir", Path: path, Err: syscall.ENOTDIR}
	}
	return err
}

// sweep removes the temporary files that earlier processes of a spool left, once per Destination. Only the owner of the
// spool writes there; a copy of the spool would at worst have to repeat an upload.
func (d *Destination) sweep(spool string) {
	d.mu.Lock()
	swept := d.swept[spool]
	d.swept[spool] = true
	d.mu.Unlock()
	if swept {
		return
	}
	dir := filepath.Join(d.dir, tmp, spool)
	// Best effort throughout: garbage only costs room, and a Put that failed because of it would cost more.
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) == 0 {
		return
	}
	now, err := d.serverTime(dir)
	if err != nil {
		return
	}
	for _, e := range entries {
		fi, err := e.Info()
		if err != nil || !fi.Mode().IsRegular() || strings.HasPrefix(e.Name(), d.process+"-") {
			continue
		}
		if now.Sub(fi.ModTime()) > d.o.StaleAfter {
			_ = os.Remove(filepath.Join(dir, e.Name()))
		}
	}
}

// serverTime reads the file server's clock: this host's may be hours away from it.
func (d *Destination) serverTime(dir string) (time.Time, error) {
	f, err := os.CreateTemp(dir, d.process+"-")
	if err != nil {
		return time.Time{}, err
	}
	defer os.Remove(f.Name())
	fi, err := f.Stat()
	if err = errors.Join(err, f.Close()); err != nil {
		return time.Time{}, err
	}
	return fi.ModTime(), nil
}

// Check implements ship.Checker: it creates the directory, and writes, syncs and removes a file in it. So a directory
// that is not writable, or a disk that is full to the last block, is reported here and not at the first delivery.
func (d *Destination) Check(ctx context.Context) error {
	return wrap("check", d.dir, d.check(ctx))
}

func (d *Destination) check(ctx context.Context) error {
	if err := errors.Join(ctx.Err(), d.mounted()); err != nil {
		return err
	}
	dir := filepath.Join(d.dir, tmp)
	if _, err := d.mkdir(dir); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "check-")
	if errors.Is(err, fs.ErrNotExist) {
		d.forget()
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString("penstock\n")
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), os.Remove(f.Name()))
}
