package fileship

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/internal/steadylog"
	"github.com/penstock-go/penstock/internal/wait"
	"github.com/penstock-go/penstock/ship"
)

// Options configure a Destination. The zero value of every field means its documented default.
type Options struct {
	// Marker names a file that must exist in the directory, "" for none. Put one on a network mount, so that nothing is
	// written to the empty mount point while the mount is missing.
	Marker string
	// NoReadBack leaves out reading each file back before it is published. The checksum is then the one of the bytes
	// that were written, and the receipt is degraded by "no-read-back".
	NoReadBack bool
	// StaleAfter is the age from which a temporary file that an earlier process of the same spool left behind is removed;
	// default 1 h. It is measured by the file server's clock.
	StaleAfter time.Duration
	// Logger gets what the operator should know; nil discards.
	Logger *slog.Logger
}

func (o *Options) withDefaults() Options {
	var out Options
	if o != nil {
		out = *o
	}
	if out.StaleAfter == 0 {
		out.StaleAfter = time.Hour
	}
	out.Logger = steadylog.Wrap(out.Logger)
	return out
}

func (o Options) validate() error {
	var errs []error
	if o.Marker != "" && ship.CheckKey(o.Marker) != nil {
		errs = append(errs, fmt.Errorf("marker %q is not a file name below the directory", o.Marker))
	}
	if o.StaleAfter < time.Minute {
		errs = append(errs, fmt.Errorf("stale-after %v is below a minute: a running upload could be taken for garbage", o.StaleAfter))
	}
	return errors.Join(errs...)
}

// Destination is a directory. It holds no open files between calls.
type Destination struct {
	dir string
	o   Options
	// process distinguishes this Destination's temporary files from those of earlier ones.
	process string

	mu sync.Mutex // guards the two maps, and is not held over a system call
	// durable holds the directories whose own names are known to be on stable storage.
	durable map[string]bool
	swept   map[string]bool // spools whose old temporary files were looked for
}

var (
	_ ship.Destination = (*Destination)(nil)
	_ ship.Lister      = (*Destination)(nil)
	_ ship.Checker     = (*Destination)(nil)
	_ ship.Locator     = (*Destination)(nil)
)

// New returns the destination in dir. It does not access dir yet; the first Put or Check creates it, unless there is a
// Marker to wait for.
func New(dir string, o *Options) (*Destination, error) {
	opts := o.withDefaults()
	errs := opts.validate()
	if dir == "" || strings.ContainsRune(dir, 0) {
		errs = errors.Join(errs, fmt.Errorf("%q is no directory name", dir))
	}
	if errs != nil {
		return nil, fmt.Errorf("fileship: %w", errs)
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("fileship: %s: %w", dir, err)
	}
	return &Destination{
		dir: abs, o: opts, process: strings.ToLower(rand.Text())[:8],
		durable: map[string]bool{}, swept: map[string]bool{},
	}, nil
}

// Open returns the destination that a URL names: file:///DIR[?marker=NAME][&read_back=false]. The URL overrides o.
func Open(_ context.Context, rawURL string, o *Options) (*Destination, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, errors.New("fileship: this is no URL: write file:///DIR") // url.Parse's error repeats the URL, perhaps with a password
	}
	dir := u.Path
	// People write file:dir and file://dir for a relative path; both would name another place.
	switch {
	case u.Scheme != "file":
		return nil, fmt.Errorf("fileship: %q does not begin with file://", u.Redacted())
	case u.User != nil:
		return nil, errors.New("fileship: a user means nothing here: write file:///DIR")
	case u.Host != "" && u.Host != "localhost":
		return nil, fmt.Errorf("fileship: %q names the host %s: write file:/// and mount it here", u.Redacted(), u.Host)
	case u.Opaque != "":
		return nil, errors.New("fileship: the URL has no absolute path: write file:///DIR")
	case !strings.HasPrefix(dir, "/"):
		return nil, fmt.Errorf("fileship: %q has no absolute path: write file:///DIR", u.Redacted())
	}
	if runtime.GOOS == "windows" {
		dir = strings.TrimPrefix(dir, "/") // file:///C:/dir
	}
	opts := o.withDefaults()
	for name, values := range u.Query() {
		value := values[len(values)-1]
		switch {
		case name == "marker":
			opts.Marker = value
		case name == "read_back" && (value == "true" || value == "false"):
			opts.NoReadBack = value == "false"
		default:
			return nil, fmt.Errorf("fileship: unknown parameter %q, or another value of it; there are marker=NAME and read_back=true|false", name)
		}
	}
	return New(filepath.FromSlash(dir), &opts)
}

// path returns the file of a key that ship.CheckKey has accepted.
func (d *Destination) path(key string) string {
	return filepath.Join(d.dir, filepath.FromSlash(key))
}

// Stat implements ship.Destination. A file system keeps no checksum: the receipt has none.
func (d *Destination) Stat(ctx context.Context, key string) (ship.Receipt, error) {
	fi, err := d.stat(ctx, key)
	if err != nil {
		return ship.Receipt{}, wrap("stat", key, err)
	}
	return ship.Receipt{Size: fi.Size(), Method: "size", Time: time.Now().UTC()}, nil
}

// stat finds regular files only, also through a symbolic link that an operator has left for a file that was moved. A
// directory is no object.
func (d *Destination) stat(ctx context.Context, key string) (fs.FileInfo, error) {
	if err := errors.Join(ctx.Err(), ship.CheckKey(key), d.mounted()); err != nil {
		return nil, err
	}
	fi, err := os.Stat(d.path(key))
	if err == nil && !fi.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	return fi, err
}

// Open implements ship.Destination.
func (d *Destination) Open(ctx context.Context, key string) (io.ReadCloser, error) {
	if _, err := d.stat(ctx, key); err != nil {
		return nil, wrap("open", key, err)
	}
	f, err := os.Open(d.path(key))
	if err != nil {
		return nil, wrap("open", key, err)
	}
	return &body{reader{ctx, f}, f}, nil
}

// body is a file that is read until its context ends.
type body struct {
	io.Reader
	io.Closer
}

// Location implements ship.Locator: the directory with its symbolic links resolved as far as it exists. If that takes longer
// than resolveWithin, because a mount hangs, it returns the name as it was given: a start must not wait.
func (d *Destination) Location() string {
	found := make(chan string, 1)
	go func() { found <- resolve(d.dir) }() // ends when the system call does
	dir, ok := wait.Receive(context.Background(), resolveWithin, found)
	if !ok {
		dir = d.dir
	}
	return "file://" + filepath.ToSlash(dir)
}

const resolveWithin = 2 * time.Second

// evalSymlinks is filepath.EvalSymlinks, a variable for the test of a mount that hangs.
var evalSymlinks = filepath.EvalSymlinks

func resolve(dir string) string {
	rest := ""
	for {
		if real, err := evalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return filepath.Join(dir, rest)
		}
		dir, rest = parent, filepath.Join(filepath.Base(dir), rest)
	}
}

// mounted returns an error if the Marker is missing: the directory may be an empty mount point.
func (d *Destination) mounted() error {
	if d.o.Marker == "" {
		return nil
	}
	if _, err := os.Lstat(d.path(d.o.Marker)); err != nil {
		// Not fs.ErrNotExist in the chain: the object may well exist where the mount is.
		return ship.Permanent(fmt.Errorf("%s has no %s: mount it, or create that file in it (%v)", d.dir, d.o.Marker, err))
	}
	return nil
}

// wrap adds the operation to an error, and makes it permanent if only an operator can cure it. A full disk is not permanent:
// room comes back by itself if old objects are removed on a schedule.
func wrap(op, key string, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syscall.ENOTDIR) {
		err = notExist{err} // a parent of the key is a file: the object is not there
	}
	err = fmt.Errorf("fileship: %s %s: %w", op, key, err)
	switch {
	case errors.Is(err, fs.ErrPermission):
		return ship.Permanent(fmt.Errorf("%w (let this process's user write below the directory)", err))
	case errors.Is(err, syscall.EROFS):
		return ship.Permanent(fmt.Errorf("%w (mount it for writing)", err))
	}
	return err
}

// notExist adds fs.ErrNotExist to an error.
type notExist struct{ error }

func (n notExist) Unwrap() []error { return []error{n.error, fs.ErrNotExist} }

// reader fails once ctx has ended.
type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
