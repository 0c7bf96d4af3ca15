package index

import (
	"bytes"
	"errors"
	"io/fs"
	"log/slog"
	"path/filepath"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/statefile"
)

var _ OpenFunc = Preview

// Preview returns the index that Open would return for a directory, but in memory: the file is read as plain bytes. bbolt does
// not open it, no lock is taken, and nothing is written. The spool must not be open in another process.
func Preview(fsys vfs.FS, dir string, log *slog.Logger) (Index, bool, error) {
	entries, err := read(fsys, dir)
	switch {
	case errors.Is(err, statefile.ErrNewer):
		return nil, false, err
	case err != nil && !errors.Is(err, fs.ErrNotExist) && !isDamage(err):
		return nil, false, lost(err)
	case isDamage(err):
		log.Warn("spool: moving the index aside; it is rebuilt from the segments, and no record is concerned: see what the disk reports", "dir", dir, "err", err)
	}
	d := new(Mem)
	if err == nil {
		d.exists, d.txs = true, []memTx{{puts: entries}}
	}
	return d.Open(fsys, dir, log)
}

// Check reads the index of a directory and returns what is wrong with it: nil if it is sound, fs.ErrNotExist if there is none. The
// spool must not be open in another process.
func Check(fsys vfs.FS, dir string) error {
	_, err := read(fsys, dir)
	return err
}

// read returns the entries of an index. The error is fs.ErrNotExist if there is none, a damage if it must be rebuilt,
// statefile.ErrNewer, or an error of reading.
func read(fsys vfs.FS, dir string) (entries []Entry, err error) {
	_, merr := fsys.Stat(filepath.Join(dir, MarkName))
	if vfs.Mounted(dir) {
		entries, err = readPlain(fsys, dir)
	} else {
		x := &boltIndex{fsys: fsys, dir: dir}
		err = x.read(func(key string, value []byte) { entries = append(entries, Entry{key, bytes.Clone(value)}) })
	}
	if err == nil && merr == nil {
		err = damaged("the index was lost while open, or the process ended while opening it")
	}
	return entries, err
}

// readPlain is read for a file system of vfs.Mount.
func readPlain(fsys vfs.FS, dir string) (entries []Entry, err error) {
	b, err := vfs.ReadFile(fsys, filepath.Join(dir, FileName), maxPlain)
	if errors.Is(err, vfs.ErrTooLarge) {
		return nil, damaged("%v", err)
	}
	if err != nil {
		return nil, err
	}
	var f plainFile
	if err := statefile.Open(b, &f); err != nil {
		return nil, damaged("%v", err)
	}
	for k, v := range f.Entries {
		entries = append(entries, Entry{k, v})
	}
	return entries, nil
}
