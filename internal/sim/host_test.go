package sim

import (
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
	"github.com/penstock-go/penstock/spool/segment"
)

// host is a machine with a volume. Processes start and end on it. It can lose its volume, or get a copy of another's.
type host struct {
	w *world
	n int

	mu   sync.Mutex // guards mem, work and the faults: a process that dies changes them during an operation
	mem  *vfs.Mem   // the volume; nil if there is none
	work *vfs.Mem   // the host's own disk, where it adopts the volumes of others
	disk diskFault

	proc       *process
	trap       trap // for the next process
	containers int  // how many have had a name of their own
	jobs       []*adoption

	gone     bool  // its volume may be adopted by other hosts
	adopters int64 // by how many
	tenure
}

// tenure is the knowledge about a volume. It moves to another host with the volume.
type tenure struct {
	opts   int64 // of the last start
	third  bool  // destination c is one of the spool's
	forgot bool  // and is given up

	snapshot *vfs.Mem
	in       map[int]bool // the records that the snapshot has
	older    *vfs.Mem     // the state of the volume when the last process started

	// orderly: the last process has written its report and closed its spool.
	orderly bool
	ledger  segment.Ledger // as the last process has found it

	misled bool // spool.json was damaged
	witnesses
}

// diskFault is a temporary fault of a volume.
type diskFault struct {
	failing  time.Time // until then writes fail,
	syncOnly bool      // or only syncs
	refused  map[vfs.Kind]error
}

func (f *diskFault) err(op vfs.Op) error {
	if err := f.refused[op.Kind]; err != nil {
		return err
	}
	if f.failing.IsZero() || time.Now().After(f.failing) {
		return nil
	}
	if op.Kind == vfs.OpSync || op.Kind == vfs.OpWrite && !f.syncOnly {
		return syscall.EIO
	}
	return nil
}

// fill leaves free bytes of space for a while.
func (h *host) fill(free int64, ms int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mem == nil {
		return
	}
	total, left, err := h.mem.Space("/")
	if err != nil {
		return
	}
	h.mem.SetCapacity(total - left + free)
	time.AfterFunc(time.Duration(ms)*time.Millisecond, h.empty)
}

// empty ends a full disk.
func (h *host) empty() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mem != nil {
		h.mem.SetCapacity(0)
	}
}

// fail makes writes, or only syncs, return EIO for a while.
func (h *host) fail(syncOnly bool, ms int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disk.failing, h.disk.syncOnly = time.Now().Add(time.Duration(ms)*time.Millisecond), syncOnly
}

// arm sets a trap for the current process or for the next one.
func (h *host) arm(t trap) {
	t.left = max(1, t.left)
	if p := h.proc; p != nil {
		p.mu.Lock()
		p.trap = t
		p.mu.Unlock()
		return
	}
	h.trap = t
}

// refusable are the system calls that a container, an old kernel or another file system may refuse, by the operations that make
// them. The tests of package vfs check its own reaction to a refusal (a substitute, or an error that names the call); this
// simulation checks the rest of the program.
var refusable = []vfs.Kind{
	vfs.OpAllocate, statfs, vfs.OpSyncDir, vfs.OpSync, vfs.OpTruncate, vfs.OpRename, vfs.OpLock, vfs.OpRemove, vfs.OpCreate, vfs.OpMkdirAll,
}

// A refused statfs returns zeros: see vfs.FS.Space.
const statfs = vfs.Kind(255)

// refusals are the errors of refused calls.
var refusals = []error{syscall.EPERM, syscall.ENOSYS, syscall.EINVAL, syscall.EOPNOTSUPP}

// refuse makes a system call fail from now on.
func (h *host) refuse(which int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.disk.refused == nil {
		h.disk.refused = map[vfs.Kind]error{}
	}
	h.disk.refused[refusable[int(which)%len(refusable)]] = refusals[int(which)/len(refusable)%len(refusals)]
}

// blind reports whether statfs is refused.
func (h *host) blind() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.disk.refused[statfs] != nil
}

// gauged is a volume that may refuse to report its size.
type gauged struct {
	*vfs.Mem
	h *host
}

// Space implements vfs.FS.
func (g gauged) Space(path string) (total, free int64, err error) {
	if g.h.blind() {
		return 0, 0, nil
	}
	return g.Mem.Space(path)
}

// heal ends every fault of the disk.
func (h *host) heal() {
	h.empty()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.disk = diskFault{}
}

// fault returns the error of an operation on the volume.
func (h *host) fault(op vfs.Op) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.disk.err(op)
}

// volume returns a crash-consistent copy, like a snapshot of a disk in use.
func (h *host) volume(seed int64) *vfs.Mem {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.mem.CrashClone(vfs.Crash{Data: vfs.DataMixed, Names: vfs.NamesJournal, Seed: uint64(seed)})
}

// steps are the points where KillAt and CutAt end a process: disk operations by the kind of file, and calls of destinations.
var steps = []string{
	"write seg", "sync seg", "create seg", "rename seg", "remove seg", "create stage", "rename stage", "remove stage",
	"rename next", "rename chain", "rename index.db", "rename spool.json", "rename drain.json", "rename report.json",
	"rename frozen", "remove frozen", "remove clean", "rename clean", "syncdir chain", "truncate seg",
	"before put", "after put", "before put manifest", "after put manifest", "before stat",
}

// stepOf returns the step of a disk operation.
func stepOf(op vfs.Op) string {
	what, base := filepath.Base(op.Path), filepath.Base(op.Path)
	switch dir := filepath.Base(filepath.Dir(op.Path)); {
	case strings.Contains(base, ".next"):
		what = "next"
	case dir == "seg" || dir == "free" || base == "seg":
		what = "seg"
	case dir == "stage" || base == "stage":
		what = "stage"
	case dir == "chain" || base == "chain":
		what = "chain"
	default:
		for _, name := range []string{"index.db", "spool.json", "drain.json", "report.json", "frozen", "clean"} {
			if strings.HasPrefix(base, name) {
				what = name
			}
		}
	}
	return op.Kind.String() + " " + what
}

// name returns the name of the instance.
func (h *host) name() string {
	if h.containers > 0 {
		return fmt.Sprintf("host%d-container%d", h.n, h.containers)
	}
	return fmt.Sprintf("host%d", h.n)
}
