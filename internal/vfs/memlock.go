package vfs

import (
	"errors"
	"io"
	"io/fs"
	"strings"
	"sync"
)

// Space implements FS. Without a capacity it returns one TiB.
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
	create := m.Create
	if holder == "" {
		create = m.OpenRW
	}
	f, err := create(path)
	if errors.Is(err, fs.ErrExist) {
		f, err = m.OpenRW(path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	m.mu.Lock()
	other, held := m.locks[key] // the map is the lock; the file only shows who holds it
	if !held {
		m.locks[key] = holder
	}
	m.mu.Unlock()
	if held {
		return nil, &LockedError{Path: path, Holder: other}
	}
	if holder != "" {
		_ = f.Truncate(0)
		_, _ = f.WriteAt([]byte(holder), 0)
	}
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
