package vfs

import (
	"fmt"
	"sync/atomic"
	"time"
)

// uuids counts the file systems in memory.
var uuids atomic.Uint64

var _ Placer = (*Mem)(nil)

// Volume implements Placer. A clone has the identity of the original: a snapshot or an image cannot be distinguished from its
// volume.
func (m *Mem) Volume(dir string) *Volume {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("stat", dir)
	if err != nil {
		return nil
	}
	return &Volume{UUID: fmt.Sprintf("%032x", m.uuid), Inode: n.id, Birth: n.birth.UnixNano()}
}

// FileCopy returns another file system with the same files, like a copy made file by file: everything is durable, and the copy
// has its own identity.
func (m *Mem) FileCopy() *Mem {
	to := m.CrashClone(Crash{Data: DataKept, Names: NamesKept})
	to.uuid = uuids.Add(1)
	to.root.reborn(time.Now())
	return to
}

// reborn sets the birth time of a node and of everything below it.
func (n *memNode) reborn(now time.Time) {
	n.birth = now
	for _, child := range n.now {
		child.reborn(now)
	}
}
