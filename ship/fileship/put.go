package fileship

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/penstock-go/penstock/ship"
)

// block is how much is read or written between two checks of the context: large enough for network file systems, small
// enough to end a Put promptly.
const block = 1 << 20

var blocks = sync.Pool{New: func() any { b := make([]byte, block); return &b }}

// link is os.Link, a variable for the tests of file systems that have none.
var link = os.Link

// Put implements ship.Destination: temporary file, fsync, read back, link, directory fsync. Until the link the object does
// not exist; from then on it is complete.
func (d *Destination) Put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	r, err := d.put(ctx, o, body)
	if err != nil {
		return ship.Receipt{}, wrap("put", o.Key, err)
	}
	return r, nil
}

func (d *Destination) put(ctx context.Context, o ship.Object, body *io.SectionReader) (ship.Receipt, error) {
	if err := errors.Join(ctx.Err(), ship.CheckKey(o.Key), ship.CheckKey(o.Spool), d.mounted()); err != nil {
		return ship.Receipt{}, err
	}
	if strings.HasPrefix(o.Key, tmp+"/") {
		return ship.Receipt{}, errors.New("keys below _tmp/ are for temporary files")
	}
	// The usual repetition, after a restart: no byte is written twice.
	if r, err := d.existing(ctx, o); !errors.Is(err, fs.ErrNotExist) {
		return r, err
	}
	d.sweep(o.Spool)
	temp, err := d.write(ctx, o, body)
	if temp != "" {
		defer os.Remove(temp) // best effort: what stays is swept later
	}
	if err != nil {
		return ship.Receipt{}, err
	}
	// The last moment at which ending leaves nothing behind.
	if err := ctx.Err(); err != nil {
		return ship.Receipt{}, err
	}
	degraded, err := d.publish(temp, o.Key)
	if errors.Is(err, fs.ErrExist) {
		return d.existing(ctx, o) // another Put was faster
	}
	if err != nil {
		return ship.Receipt{}, err
	}
	return d.receipt(o, degraded), nil
}

// receipt returns the receipt for bytes whose hash was just compared.
func (d *Destination) receipt(o ship.Object, degraded []string) ship.Receipt {
	r := ship.Receipt{
		Size: o.Size, Checksum: ship.SHA256Checksum(o.SHA256), Method: "read-back", Time: time.Now().UTC(), Degraded: degraded,
	}
	if d.o.NoReadBack {
		r.Method, r.Degraded = "hash-on-write", append(r.Degraded, "no-read-back")
	}
	return r
}

// write makes a durable and verified temporary file. It returns the file's name, even with an error, for removal. The file
// is on the same file system as the object, below the destination's directory, since links and renames do not cross.
func (d *Destination) write(ctx context.Context, o ship.Object, body *io.SectionReader) (temp string, err error) {
	dir := filepath.Join(d.dir, tmp, o.Spool)
	temp = filepath.Join(dir, d.process+"-"+strings.ToLower(rand.Text()))
	var f *os.File
	if _, err = d.mkdir(dir); err == nil {
		f, err = os.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	}
	if errors.Is(err, fs.ErrNotExist) {
		d.forget() // someone has removed the directory; the next attempt makes it again
	}
	if err != nil {
		return "", err
	}
	// A reader of its own: the caller may use body again, and may have used it before.
	n, sum, err := hash(ctx, f, io.NewSectionReader(body, 0, body.Size()))
	if err == nil && (n != o.Size || sum != o.SHA256) {
		err = fmt.Errorf("the body of %d bytes is not the object of %d that its checksum describes: %w", n, o.Size, ship.ErrVerify)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return temp, err
	}
	if d.o.NoReadBack {
		return temp, nil
	}
	return temp, check(ctx, temp, o, ship.ErrVerify)
}

// existing returns the receipt of a file that is there already, ErrConflict if its bytes differ, fs.ErrNotExist if there
// is none. The process that wrote it may have died before it was durable, so it is made durable here.
func (d *Destination) existing(ctx context.Context, o ship.Object) (ship.Receipt, error) {
	path := d.path(o.Key)
	fi, err := os.Lstat(path)
	if err != nil {
		return ship.Receipt{}, err
	}
	if fi.Mode()&fs.ModeSymlink != 0 {
		// The name is taken, wherever the link leads.
		if to, err := os.Stat(path); err == nil {
			fi = to
		} else if !errors.Is(err, fs.ErrNotExist) {
			return ship.Receipt{}, err
		}
	}
	if !fi.Mode().IsRegular() || fi.Size() != o.Size {
		return ship.Receipt{}, fmt.Errorf("%s with %d bytes is there: %w", fi.Mode().Type(), fi.Size(), ship.ErrConflict)
	}
	if err := check(ctx, path, o, ship.ErrConflict); err != nil {
		return ship.Receipt{}, err
	}
	if err := syncFile(path); err != nil {
		return ship.Receipt{}, err
	}
	// Make its name durable too, and those of the directories above it.
	degraded, err := d.mkdir(filepath.Dir(path))
	if err != nil {
		return ship.Receipt{}, err
	}
	synced, err := syncDir(filepath.Dir(path))
	if err != nil {
		return ship.Receipt{}, err
	}
	if !synced || degraded {
		return d.receipt(o, []string{"no-dir-fsync"}), nil
	}
	return d.receipt(o, nil), nil
}

// check reads a file and compares it with o. A file that a crash of the server left full of zeros has the right size.
func check(ctx context.Context, path string, o ship.Object, mismatch error) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	n, sum, err := hash(ctx, io.Discard, f)
	if err != nil {
		return err
	}
	if n != o.Size || sum != o.SHA256 {
		return fmt.Errorf("%s holds %d bytes with %s: %w", path, n, ship.SHA256Checksum(sum), mismatch)
	}
	return nil
}

// hash copies src to dst block by block, and returns length and SHA-256 of what it read.
func hash(ctx context.Context, dst io.Writer, src io.Reader) (n int64, sum [32]byte, err error) {
	b := blocks.Get().(*[]byte)
	defer blocks.Put(b)
	h := sha256.New()
	// The wrappers keep io.CopyBuffer from bypassing the buffer and the context.
	n, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(h, dst)}, reader{ctx, src}, *b)
	h.Sum(sum[:0])
	return n, sum, err
}

// publish gives a temporary file its name, unless that is taken (fs.ErrExist), and makes the name durable.
func (d *Destination) publish(temp, key string) (degraded []string, err error) {
	path := d.path(key)
	unsynced := false
	for range 2 {
		if unsynced, err = d.mkdir(filepath.Dir(path)); err == nil {
			err = link(temp, path)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			break
		}
		d.forget() // a clean-up job has removed the empty directory: once more, from the top
	}
	if err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, fs.ErrNotExist) {
		// Which error says "no hard links here" differs by file system (EPERM, ENOTSUP, ENOSYS, EMLINK, EACCES), so any
		// error gets a second try by rename, which fails the same way if the cause is another one.
		degraded = append(degraded, "no-hardlink")
		exclusive := false
		if exclusive, err = renameNoReplace(temp, path); err == nil && !exclusive {
			degraded = append(degraded, "no-exclusive-rename")
		}
	}
	if err != nil {
		return nil, err
	}
	synced, err := syncDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if !synced || unsynced {
		degraded = append(degraded, "no-dir-fsync")
	}
	return degraded, nil
}

// publishing keeps two Puts of this process from both finding a name free (see lookThenRename).
var publishing sync.Mutex

// lookThenRename renames if the name is free: the last resort if there is no exclusive operation.
func lookThenRename(temp, path string) error {
	publishing.Lock()
	defer publishing.Unlock()
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(temp, path)
}
