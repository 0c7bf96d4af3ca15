package vfs

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem is a file system in memory that tracks what is durable: the contents of a file up to its last successful Sync, and the
// names in a directory up to its last SyncDir. [Mem.CrashClone] shows what a power cut would leave. Absolute paths and paths
// relative to the root are equivalent.
//
// Pages are never changed once written, so that clones share them. Cloning costs a few words per 4 KiB, which allows a sweep to
// clone before every operation.
type Mem struct {
	mu       sync.Mutex
	uuid     uint64 // of the file system; clones keep it, as block-level copies do
	root     *memNode
	nodes    uint64            // number of the latest node
	capacity int64             // bytes, 0: no limit
	used     int64             // bytes in the pages of all files
	maxFiles int               // 0: no limit
	journal  []memOp           // changes of directories that may not be durable, in order
	locks    map[string]string // holders by path
}

var _ FS = (*Mem)(nil)

// memNode is a file or a directory.
type memNode struct {
	id    uint64 // its inode number, and the seed for the effects of a power cut on it
	time  time.Time
	birth time.Time

	// A directory has three views: the current one, the one at the last SyncDir, and the least that an ordered journal
	// preserves.
	now, synced, base map[string]*memNode

	// See memfile.go.
	slots       []slot
	dirty       []int // slots written since the last Sync
	size        int64
	durableSize int64
	sizes       []int64 // sizes between the durable and the current one
	links       int     // names in now
	opens       int
}

// memOp is one operation on directories: one or two changes (the two sides of a rename) that an ordered journal keeps together.
// With NamesStrict each directory keeps its own side as of its own SyncDir.
type memOp []memChange

type memChange struct {
	dir  *memNode
	name string
	node *memNode // nil: the name is removed
}

// NewMem returns an empty file system of unlimited size.
func NewMem() *Mem {
	m := &Mem{locks: map[string]string{}, uuid: uuids.Add(1)}
	m.root = m.newNode(true)
	return m
}

// SetCapacity limits the bytes in the pages of all files; 0 removes the limit. Beyond it, writes fail with ENOSPC after the
// part that fits, as on a full disk.
func (m *Mem) SetCapacity(bytes int64) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.capacity = bytes
}

// SetFiles limits the number of files and directories, as on a file system with a fixed number of inodes; 0 removes the limit.
// Beyond it no file can be created, even if there is room for its contents.
func (m *Mem) SetFiles(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.maxFiles = n
}

// Files returns how many files and directories there are.
func (m *Mem) Files() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.root.count()
}

// count returns how many nodes there are in a tree.
func (n *memNode) count() int {
	files := 1
	for _, below := range n.now {
		files += below.count()
	}
	return files
}

func (m *Mem) newNode(dir bool) *memNode {
	m.nodes++
	now := time.Now()
	n := &memNode{id: m.nodes, time: now, birth: now}
	if dir {
		n.now, n.synced, n.base = map[string]*memNode{}, map[string]*memNode{}, map[string]*memNode{}
	}
	return n
}

func (n *memNode) isDir() bool { return n.now != nil }

// names splits a path. Absolute and relative paths give the same result.
func names(path string) []string {
	path = filepath.ToSlash(filepath.Clean(path[len(filepath.VolumeName(path)):]))
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// find returns the node of a path.
func (m *Mem) find(op, path string) (*memNode, error) {
	n := m.root
	for _, name := range names(path) {
		if n = n.now[name]; n == nil { // a file has no names: its map is nil
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

// change performs one operation on directories and appends it to the journal.
func (m *Mem) change(op memOp) {
	for _, c := range op {
		old := c.dir.now[c.name]
		if c.node == nil {
			delete(c.dir.now, c.name)
		} else {
			c.dir.now[c.name] = c.node
			c.node.links++
		}
		if old != nil { // removed or replaced, but open files stay usable
			old.links--
			m.release(old)
		}
		c.dir.time = time.Now()
	}
	m.journal = append(m.journal, op)
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
