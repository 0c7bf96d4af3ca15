package vfs

import (
	"errors"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"syscall"
)

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
	if m.maxFiles > 0 && m.root.count() >= m.maxFiles {
		return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOSPC}
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
	case old == n: // rename(2): two names of one file; nothing changes
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
			m.syncDir(dir) // MkdirAll promises durable names
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

// syncDir makes the current view of one directory durable, and advances base, the least that an ordered journal preserves.
func (m *Mem) syncDir(dir *memNode) {
	dir.synced = maps.Clone(dir.now)
	done := 0
	for i, op := range m.journal {
		if slices.ContainsFunc(op, func(c memChange) bool { return c.dir == dir }) {
			done = i + 1
		}
	}
	// An ordered journal that contains the last change of this directory contains every change before it, in any directory.
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
