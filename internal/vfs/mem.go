package vfs

import (
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
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
	uuid     uint64 // of the file system: clones keep it, as block-level copies do
	root     *memNode
	nodes    uint64            // number of the latest node
	capacity int64             // bytes, 0: no limit
	used     int64             // bytes in the pages of all files
	maxFiles int               // 0: no limit
	journal  []memOp           // changes of directories not known to be durable, in order
	locks    map[string]string // holders by path
}

var _ FS = (*Mem)(nil)

// memNode is a file or a directory.
type memNode struct {
	id    uint64 // its inode; seeds what a power cut does to it
	time  time.Time
	birth time.Time

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

// memOp is one operation on directories, of one or two changes that an ordered journal keeps together: the two sides of a
// rename. Strict names do not: each directory has its own side as of its own SyncDir.
type memOp []memChange

type memChange struct {
	dir  *memNode
	name string
	node *memNode // nil: the name goes
}

// NewMem returns an empty file system without a limit of its size.
func NewMem() *Mem {
	m := &Mem{locks: map[string]string{}, uuid: uuids.Add(1)}
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

// SetFiles limits how many files and directories there may be, as a file system with a fixed number of inodes does; 0
// removes the limit. Beyond it no file can be created, although there may be room for its contents.
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

// names splits a path. Whether it is absolute makes no difference.
func names(path string) []string {
	path = filepath.ToSlash(filepath.Clean(path[len(filepath.VolumeName(path)):]))
	return slices.DeleteFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." })
}

// find returns the node of a path.
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
		if old != nil { // removed or replaced; who has it open can go on using it
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
