package spool

import "github.com/penstock-go/penstock/internal/vfs"

// MemHost is a host whose disk is in memory, for tests of what is built on a spool.
type MemHost struct {
	mem   *vfs.Mem
	index *memDisk
}

// NewMemHost returns one with an empty disk.
func NewMemHost() *MemHost { return &MemHost{vfs.NewMem(), new(memDisk)} }

// Open opens the host's spool with hook before each operation on its files, and tx before each transaction of its index.
func (h *MemHost) Open(hook vfs.Hook, tx func() error, o *Options) (*Spool, error) {
	c := *o
	small(&c)
	h.index.before = tx
	return open("/spool", vfs.Inject(h.mem, hook), h.index.open, &c)
}

// Crash returns the host as a crash at this moment leaves it. The original goes on undisturbed.
func (h *MemHost) Crash(c vfs.Crash) *MemHost {
	return &MemHost{h.mem.CrashClone(c), h.index.crash(indexFate{})}
}
