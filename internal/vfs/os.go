package vfs

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// The spool's data may be confidential: only its owner and group may read it.
const (
	filePerm = 0o640
	dirPerm  = 0o750
)

// maxHolder bounds how much of a lock file is read.
const maxHolder = 1 << 10

// OS returns the operating system's file system. On Linux Sync is fdatasync(2), Allocate fallocate(2), Lock flock(2). Other
// systems use the nearest equivalent, see os_darwin.go and os_windows.go.
func OS() FS {
	var fsys FS = osFS{}
	if mounts.Load() != nil {
		fsys = mountFS{}
	}
	if hook := interposed.Load(); hook != nil {
		return Inject(fsys, *hook)
	}
	return fsys
}

// interposed is the hook of Interpose; nil except in tests.
var interposed atomic.Pointer[Hook]

// Interpose calls hook before each operation of every file system that OS returns until end is called. It is for tests of
// packages that take no FS, for example with a disk that is full for a while. Only one hook at a time is possible in a process.
func Interpose(hook Hook) (end func()) {
	interposed.Store(&hook)
	return func() { interposed.Store(nil) }
}

type osFS struct{}

// Create uses O_EXCL, which guarantees that a segment's name is new.
func (osFS) Create(path string) (File, error) {
	return openFile(path, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}
func (osFS) OpenRW(path string) (File, error) { return openFile(path, os.O_RDWR) }
func (osFS) Open(path string) (File, error)   { return openFile(path, os.O_RDONLY) }

func (osFS) Rename(oldpath, newpath string) error       { return os.Rename(oldpath, newpath) }
func (osFS) Remove(path string) error                   { return os.Remove(path) }
func (osFS) ReadDir(path string) ([]fs.DirEntry, error) { return os.ReadDir(path) }
func (osFS) Stat(path string) (fs.FileInfo, error)      { return os.Stat(path) }
func (osFS) SyncDir(path string) error                  { return syncDir(path) }

// Space returns as free what statfs(2) calls available, without the blocks reserved for root. ramfs, tmpfs with size=0 and FUSE
// file systems without statfs return only zeros: that means unknown, not full.
func (osFS) Space(path string) (total, free int64, err error) {
	total, free, err = space(path)
	if isRefusal(err) || total == 0 && err == nil {
		return 0, 0, nil
	}
	if err != nil {
		return 0, 0, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	return total, free, nil
}

// MkdirAll works from the top down and syncs each parent before it continues, so that an interrupted call leaves at most one
// directory whose name is not durable. It therefore syncs the parent of the deepest existing directory again. If it lacks the
// permission for that, the existing directory is not one of ours.
func (osFS) MkdirAll(path string) error {
	path = filepath.Clean(path)
	var missing []string
	dir := path
	for {
		fi, err := os.Stat(dir)
		if err == nil && !fi.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("there is a file of that name")}
		}
		if err == nil {
			break
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return err
		}
		missing = append(missing, dir) // deepest first
		dir = parent
	}
	if err := syncDir(filepath.Dir(dir)); err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for i := len(missing) - 1; i >= 0; i-- {
		// Another process may create it at the same time; the sync below is needed all the same.
		if err := os.Mkdir(missing[i], dirPerm); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if err := syncDir(filepath.Dir(missing[i])); err != nil {
			return err
		}
	}
	return nil
}

// Lock locks first and writes its text afterwards, so a refused caller may, for an instant, read the text of the previous
// holder. The file is never removed: between a removal and the next creation two processes could each hold "the" lock. People
// do remove it, though, to get rid of a lock that is in their way. So the directory is locked, too, which they cannot remove
// while its holder has files in it.
func (osFS) Lock(path, holder string) (_ io.Closer, err error) {
	l := &osLock{text: holder != ""}
	l.dir, err = lockDir(filepath.Dir(path))
	defer func() {
		if err != nil {
			l.text = false
			_ = l.Close()
		}
	}()
	if errors.Is(err, ErrLocked) {
		return nil, &LockedError{Path: path, Holder: readHolder(path)}
	}
	if err != nil {
		return nil, &fs.PathError{Op: "lock", Path: filepath.Dir(path), Err: err}
	}
	flag := os.O_RDWR | os.O_CREATE
	if holder == "" {
		flag = os.O_RDONLY
	}
	l.f, err = openRegular(path, flag)
	if holder == "" && l.dir != nil && errors.Is(err, fs.ErrNotExist) {
		return l, nil // sufficient, since any other process locks the directory before the file
	}
	if err != nil {
		return nil, err
	}
	if err := tryLock(l.f); err != nil {
		if errors.Is(err, ErrLocked) {
			return nil, &LockedError{Path: path, Holder: readHolder(path)}
		}
		return nil, &fs.PathError{Op: "lock", Path: path, Err: err}
	}
	if holder == "" {
		return l, nil
	}
	if err = l.f.Truncate(0); err == nil {
		_, err = l.f.WriteAt([]byte(holder), 0)
	}
	if err != nil && !IsNoSpace(err) { // the text is only informative; a full disk must not keep the spool from being emptied
		return nil, err
	}
	return l, nil
}

// readHolder returns the text of a lock file, as far as it is readable.
func readHolder(path string) string {
	f, err := openRegular(path, os.O_RDONLY)
	if err != nil {
		return ""
	}
	defer f.Close()
	text := make([]byte, maxHolder)
	n, _ := f.ReadAt(text, 0)
	return strings.TrimSpace(string(text[:n]))
}

// osLock holds the lock while its files are open.
type osLock struct {
	f    *os.File
	dir  *os.File // nil where directories cannot be locked
	text bool     // it has written its text
	once sync.Once
	err  error
}

// Close unlocks before it closes: a child process between fork and exec shares the descriptor, and would hold the lock for that
// moment if the file were only closed. The directory is unlocked last, so that the next process to lock it finds the file
// unlocked.
func (l *osLock) Close() error {
	l.once.Do(func() {
		if l.text {
			_ = l.f.Truncate(0)
		}
		for _, f := range []*os.File{l.f, l.dir} {
			if f != nil {
				l.err = errors.Join(l.err, unlock(f), f.Close())
			}
		}
	})
	return l.err
}

// osFile is an *os.File whose Sync syncs only the data.
type osFile struct {
	f        *os.File
	dataSync func() error // created once, so that a commit allocates nothing
}

// ErrLink means that a name is a symbolic link, or that a file to be written has several names.
var ErrLink = errors.New("a link")

var (
	errSymlink = fmt.Errorf("%w: it is a symbolic link, and a spool has none: it may lead out of the volume", ErrLink)
	errNames   = fmt.Errorf("%w: the file has other names (hard links), which would change with it: give the spool a file of its own,"+
		" cp -p FILE FILE.own && mv FILE.own FILE", ErrLink)
)

// HasOtherNames reports whether a file has more than one name, so that OpenRW refuses it.
func HasOtherNames(fi fs.FileInfo) bool { return hasOtherNames(fi) }

// errNotRegular: the spool makes only regular files, so anything else with such a name does not belong to it.
var errNotRegular = errors.New("not a regular file")

// openRegular never waits: the volume of another host may have a FIFO under any name, and open(2) would wait indefinitely for a
// writer. It also follows no symbolic link, and writes to no file that has another name. Such a volume may have links in the
// place of files: to a device, which has no end, or to a file of this host, which a service that runs as root could change.
func openRegular(path string, flag int) (*os.File, error) {
	f, err := os.OpenFile(path, flag|openNonblock|openNoFollow, filePerm)
	if err != nil {
		return nil, notFollowed(path, err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: path, Err: errNotRegular}
	}
	if err == nil && flag&os.O_RDWR != 0 && hasOtherNames(fi) {
		err = &fs.PathError{Op: "open", Path: path, Err: errNames}
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// OpenRegular is os.OpenFile, but treats links as OS does. It is for packages that open their own files in a spool's directory,
// such as bbolt.
func OpenRegular(path string, flag int, _ fs.FileMode) (*os.File, error) {
	return openRegular(path, flag)
}

func openFile(path string, flag int) (File, error) {
	f, err := openRegular(path, flag)
	if err != nil {
		return nil, err
	}
	return osFile{f: f, dataSync: newDataSync(f)}, nil
}

func (o osFile) ReadAt(p []byte, off int64) (int, error)  { return o.f.ReadAt(p, off) }
func (o osFile) WriteAt(p []byte, off int64) (int, error) { return o.f.WriteAt(p, off) }
func (o osFile) Close() error                             { return o.f.Close() }
func (o osFile) Truncate(size int64) error                { return o.f.Truncate(size) }

func (o osFile) Sync() error { return o.wrap("fdatasync", o.dataSync()) }

func (o osFile) Allocate(size int64) error { return o.wrap("fallocate", allocate(o.f, size)) }

func (o osFile) Size() (int64, error) {
	fi, err := o.f.Stat()
	if err != nil {
		return 0, err
	}
	return fi.Size(), nil
}

// wrap gives errors of system calls the form of the errors of package os. It must not allocate if there is no error.
func (o osFile) wrap(op string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		return err
	}
	return &fs.PathError{Op: op, Path: o.f.Name(), Err: err}
}
