package spool

import (
	"log/slog"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/internal/index"
)

// MemHost is a host whose disk is in memory, for tests of what is built on a spool.
type MemHost struct {
	mem   *vfs.Mem
	index *index.Mem
	work  *index.Mem // of the spool that it adopts
	// Place is what the system tells of where the disk is; nil for nothing.
	Place *vfs.Volume
}

// NewMemHost returns one with an empty disk.
func NewMemHost() *MemHost {
	return &MemHost{mem: vfs.NewMem(), index: new(index.Mem), work: new(index.Mem)}
}

// Open opens the host's spool with hook before each operation on its files, and tx before each transaction of its index.
func (h *MemHost) Open(hook vfs.Hook, tx func() error, o *Options) (*Spool, error) {
	return h.OpenGated(func(vfs.Kind, string) error { return nil }, hook, tx, o)
}

// OpenGated is Open with a gate.
func (h *MemHost) OpenGated(gate Gate, hook vfs.Hook, tx func() error, o *Options) (*Spool, error) {
	c := *o
	small(&c)
	h.index.Before = tx
	return open("/spool", gatedFS{vfs.Inject(h.mem, hook), gate, h.Place}, h.index.Open, &c)
}

// Gate is called before each operation that adds or removes a file's name, or makes names durable. It may block: except for the
// lock of a chain, the spool then holds no lock for which another goroutine waits without a channel.
type Gate func(kind vfs.Kind, path string) error

type gatedFS struct {
	vfs.FS
	gate  Gate
	place *vfs.Volume
}

// Volume implements vfs.Placer.
func (g gatedFS) Volume(string) *vfs.Volume { return g.place }

func (g gatedFS) Rename(from, to string) error {
	if err := g.gate(vfs.OpRename, to); err != nil {
		return err
	}
	return g.FS.Rename(from, to)
}

func (g gatedFS) Remove(path string) error {
	if err := g.gate(vfs.OpRemove, path); err != nil {
		return err
	}
	return g.FS.Remove(path)
}

func (g gatedFS) SyncDir(path string) error {
	if err := g.gate(vfs.OpSyncDir, path); err != nil {
		return err
	}
	return g.FS.SyncDir(path)
}

// Crash returns the host as a crash at this moment leaves it. It does not change h.
func (h *MemHost) Crash(c vfs.Crash) *MemHost {
	return &MemHost{h.mem.CrashClone(c), h.index.Crash(index.Fate{}), h.work.Crash(index.Fate{}), h.Place}
}

// Clone returns the host as the death of all its processes at this moment leaves it: writes that are not durable can still
// be lost.
func (h *MemHost) Clone() *MemHost {
	return &MemHost{h.mem.KillClone(), h.index.Crash(index.Fate{}), h.work.Crash(index.Fate{}), h.Place}
}

// Adopt adopts the spool of this host, as another host would to whose machine the volume was attached. The index of the
// spool is not looked at; the adopter's own is the host's as well.
func (h *MemHost) Adopt(gate Gate, hook vfs.Hook, tx func() error, o *AdoptOptions) (*Spool, error) {
	h.work.Before = tx
	return adopt("/spool", gatedFS{vfs.Inject(h.mem, hook), gate, h.Place}, h.work.Open, o)
}

// Files is the host's disk, for tests that damage what is on it.
func (h *MemHost) Files() *vfs.Mem { return h.mem }

// LoseIndex makes the next Open find no index.
func (h *MemHost) LoseIndex() { *h.index = index.Mem{} }

// PlanRepair plans the repair of the host's spool, with hook before each operation on its files.
func (h *MemHost) PlanRepair(hook vfs.Hook, o *RepairOptions) (*RepairPlan, error) {
	look := func(fsys vfs.FS, dir string, log *slog.Logger) (index.Index, bool, error) {
		return h.index.Crash(index.Fate{}).Open(fsys, dir, log)
	}
	return planRepair(repairer{dir: "/spool", fs: gatedFS{vfs.Inject(h.mem, hook), func(vfs.Kind, string) error { return nil }, h.Place}, look: look, open: h.index.Open}, o)
}

// ReadDirectory reads the directory of the host's spool, and its segments.
func (h *MemHost) ReadDirectory() (*Directory, []*SegmentFile, error) {
	d, err := readDirectory(h.mem, "/spool")
	if err != nil {
		return nil, nil, err
	}
	list, err := d.readSegments(h.mem)
	return d, list, err
}

// OpenSegment is SegmentFile.Open for a segment of ReadDirectory.
func (h *MemHost) OpenSegment(s *SegmentFile) (*SegmentReader, error) { return s.open(h.mem) }
