package vfs

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Mem is a file system in memory that knows what of it is durable: of a file what Sync has returned for, of a directory
// what SyncDir has. [Mem.CrashClone] shows what a power cut would leave. Paths are absolute or relative to the root, which is
// the same.
//
// Pages are never changed once written, so that clones share them: cloning costs a few words per 4 KiB, which is what lets
// a sweep clone before every operation.
type Mem struct {
	mu       sync.Mutex
	root     *memNode
	nodes    uint64 // number of the latest node
	capacity int64
	used     int64
	journal  []memOp // changes of directories not known to be durable, in order
	locks    map[string]string
}

var _ FS = (*Mem)(nil)

// memNode is a file or a directory.
type memNode struct {
	id   uint64
	time time.Time

	// A directory has three views: as it is, as SyncDir left it, and as an ordered journal has it at least.
	now, synced, base map[string]*memNode

	// See memfile.go.
	slots       []slot
	dirty       []int // slots written since the last Sync
	size        int64
	durableSize int64
	sizes       []int64 // sizes in between
	links       int     // names in now
	opens       int
}

// memOp is one operation on directories, of one or two changes that happen together.
type memOp []memChange

type memChange struct {
	dir  *memNode
	name string
	node *memNode // nil: the name goes
}

// NewMem returns an empty file system without a limit of its size.
func NewMem() *Mem {
	m := &Mem{locks: map[string]string{}}
	m.root = m.newNode(true)
	return m
}

// SetCapacity limits what the pages of all files may take, in bytes; 0 removes the limit. Beyond it, writes fail with
// ENOSPC after the part that fits, as they do on a full disk.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

func (m *Mem) newNode(dir bool) *memNode {
	m.nodes++
	n := &memNode{id: m.nodes, time: time.Now()}
	if dir {
		n.now, n.synced, n.base = map[string]*memNode{}, map[string]*memNode{}, map[string]*memNode{}
	}
	return n
}

func (n *memNode) isDir() bool { return n.now != nil }

func names(path string) []string {
	path = filepath.ToSlash(filepath.Clean(path[len(filepath.VolumeName(path)):]))
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

func (m *Mem) find(op, path string) (*memNode, error) {
	n := m.root
	for _, name := range names(path) {
		if n = n.now[name]; n == nil { // a file has no names: the map is nil
			return nil, &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
		}
	}
	return n, nil
}

// parent returns the directory of path and the name in it.
func (m *Mem) parent(op, path string) (*memNode, string, error) {
	p := names(path)
	if len(p) == 0 {
		return nil, "", &fs.PathError{Op: op, Path: path, Err: fs.ErrInvalid}
	}
	dir, err := m.find(op, strings.Join(p[:len(p)-1], "/"))
	if err != nil || !dir.isDir() {
		return nil, "", &fs.PathError{Op: op, Path: path, Err: fs.ErrNotExist}
	}
	return dir, p[len(p)-1], nil
}

// change applies one operation on directories and notes it in the journal.
func (m *Mem) change(op memOp) {
	for _, c := range op {
		old := c.dir.now[c.name]
		if c.node == nil {
			delete(c.dir.now, c.name)
		} else {
			c.dir.now[c.name] = c.node
			c.node.links++
		}
		if old != nil {
			old.links--
			m.release(old)
		}
		c.dir.time = time.Now()
	}
	m.journal = append(m.journal, op)
}

// Create implements FS.
func (m *Mem) Create(path string) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, name, err := m.parent("open", path)
	if err != nil {
		return nil, err
	}
	if dir.now[name] != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: fs.ErrExist}
	}
	n := m.newNode(false)
	m.change(memOp{{dir, name, n}})
	return m.open(n, path, true), nil
}

// OpenRW implements FS.
func (m *Mem) OpenRW(path string) (File, error) { return m.openExisting(path, true) }

// Open implements FS.
func (m *Mem) Open(path string) (File, error) { return m.openExisting(path, false) }

func (m *Mem) openExisting(path string, write bool) (File, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("open", path)
	if err == nil && n.isDir() {
		err = &fs.PathError{Op: "open", Path: path, Err: syscall.EISDIR}
	}
	if err != nil {
		return nil, err
	}
	return m.open(n, path, write), nil
}

// Rename implements FS.
func (m *Mem) Rename(oldpath, newpath string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("rename", oldpath)
	if err != nil {
		return err
	}
	from, oldname, err := m.parent("rename", oldpath)
	if err != nil {
		return err
	}
	to, newname, err := m.parent("rename", newpath)
	if err != nil {
		return err
	}
	switch old := to.now[newname]; {
	case old == n:
		return nil
	case old != nil && old.isDir() != n.isDir():
		return &fs.PathError{Op: "rename", Path: newpath, Err: fs.ErrExist}
	case old != nil && len(old.now) > 0:
		return &fs.PathError{Op: "rename", Path: newpath, Err: syscall.ENOTEMPTY}
	}
	m.change(memOp{{to, newname, n}, {from, oldname, nil}})
	return nil
}

// Remove implements FS.
func (m *Mem) Remove(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("remove", path)
	if err != nil {
		return err
	}
	if len(n.now) > 0 {
		return &fs.PathError{Op: "remove", Path: path, Err: syscall.ENOTEMPTY}
	}
	dir, name, err := m.parent("remove", path)
	if err != nil {
		return err
	}
	m.change(memOp{{dir, name, nil}})
	return nil
}

// MkdirAll implements FS.
func (m *Mem) MkdirAll(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir := m.root
	for _, name := range names(path) {
		n := dir.now[name]
		if n == nil {
			n = m.newNode(true)
			m.change(memOp{{dir, name, n}})
			m.syncDir(dir)
		}
		if !n.isDir() {
			return &fs.PathError{Op: "mkdir", Path: path, Err: errors.New("there is a file of that name")}
		}
		dir = n
	}
	return nil
}

// ReadDir implements FS.
func (m *Mem) ReadDir(path string) ([]fs.DirEntry, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.find("open", path)
	if err == nil && !dir.isDir() {
		err = &fs.PathError{Op: "readdir", Path: path, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return nil, err
	}
	var entries []fs.DirEntry
	for _, name := range slices.Sorted(maps.Keys(dir.now)) {
		entries = append(entries, fs.FileInfoToDirEntry(dir.now[name].info(name)))
	}
	return entries, nil
}

// Stat implements FS.
func (m *Mem) Stat(path string) (fs.FileInfo, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("stat", path)
	if err != nil {
		return nil, err
	}
	return n.info(filepath.Base(path)), nil
}

// SyncDir implements FS.
func (m *Mem) SyncDir(path string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	dir, err := m.find("open", path)
	if err == nil && !dir.isDir() {
		err = &fs.PathError{Op: "sync", Path: path, Err: syscall.ENOTDIR}
	}
	if err != nil {
		return err
	}
	m.syncDir(dir)
	return nil
}

func (m *Mem) syncDir(dir *memNode) {
	dir.synced = maps.Clone(dir.now)
	done := 0
	for i, op := range m.journal {
		if slices.ContainsFunc(op, func(c memChange) bool { return c.dir == dir }) {
			done = i + 1
		}
	}
	// An ordered journal that has the last change of this directory has every change before it, of any directory.
	for _, op := range m.journal[:done] {
		for _, c := range op {
			c.apply(c.dir.base)
		}
	}
	m.journal = slices.Delete(m.journal, 0, done)
}

func (c memChange) apply(names map[string]*memNode) {
	if c.node == nil {
		delete(names, c.name)
	} else {
		names[c.name] = c.node
	}
}

// Space implements FS. Without a capacity there is a TiB.
func (m *Mem) Space(path string) (total, free int64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, err := m.find("statfs", path); err != nil {
		return 0, 0, err
	}
	total = 1 << 40
	if m.capacity > 0 {
		total = m.capacity
	}
	return total, max(0, total-m.used), nil
}

// Lock implements FS.
func (m *Mem) Lock(path, holder string) (io.Closer, error) {
	key := strings.Join(names(path), "/")
	f, err := m.Create(path)
	if errors.Is(err, fs.ErrExist) {
		f, err = m.OpenRW(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m.mu.Lock()
	other, held := m.locks[key]
	if !held {
		m.locks[key] = holder
	}
	m.mu.Unlock()
	if held {
		return nil, &LockedError{Path: path, Holder: other}
	}
	_ = f.Truncate(0)
	_, _ = f.WriteAt([]byte(holder), 0)
	return &memLock{m: m, key: key}, nil
}

type memLock struct {
	m    *Mem
	key  string
	once sync.Once
}

func (l *memLock) Close() error {
	l.once.Do(func() {
		l.m.mu.Lock()
		defer l.m.mu.Unlock()
		delete(l.m.locks, l.key)
	})
	return nil
}

func (n *memNode) info(name string) memInfo { return memInfo{name, n.size, n.isDir(), n.time} }

type memInfo struct {
	name string
	size int64
	dir  bool
	time time.Time
}

func (i memInfo) Name() string       { return i.name }
func (i memInfo) Size() int64        { return i.size }
func (i memInfo) ModTime() time.Time { return i.time }
func (i memInfo) IsDir() bool        { return i.dir }
func (i memInfo) Sys() any           { return nil }

func (i memInfo) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | dirPerm
	}
	return filePerm
}
