package vfs

import (
	"fmt"
	"sync/atomic"
	"time"
)

// uuids numbers the file systems in memory.
var uuids atomic.Uint64

var _ Placer = (*Mem)(nil)

// Volume implements Placer. A clone has the identity of what it was made from: nothing tells a snapshot or an image of a
// volume from the volume.
func (m *Mem) Volume(dir string) *Volume {
	m.mu.Lock()
	defer m.mu.Unlock()
	n, err := m.find("stat", dir)
	if err != nil {
		return nil
	}
	return &Volume{UUID: fmt.Sprintf("%032x", m.uuid), Inode: n.id, Birth: n.birth.UnixNano()}
}

// FileCopy returns another file system with the same files, as a copy that is made file by file leaves it: durable, and
// with an identity of its own.
func (m *Mem) FileCopy() *Mem {
	to := m.CrashClone(Crash{Data: DataKept, Names: NamesKept})
	to.uuid = uuids.Add(1)
	to.root.reborn(time.Now())
	return to
}

// reborn sets the time of birth of a node and of all below it.
func (n *memNode) reborn(now time.Time) {
	n.birth = now
	for _, child := range n.now {
		child.reborn(now)
	}
}
