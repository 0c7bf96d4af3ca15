package sim

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/penstock-go/penstock/internal/vfs"
)

// The kinds of damage to a file at rest, chosen by B modulo their number. The rest of B chooses the position.
const (
	flipBit = iota
	zeroBlock
	foreignBlock // bytes of another file of its directory
	truncate
	swapFiles // swapped with another file of its directory
	olderCopy // its state when the process was started
	deleteFile
	damageKinds
)

// files lists the spool's files in order, except locks, temporary files and files whose contents have no meaning.
func files(m *vfs.Mem, dir string) (paths []string) {
	entries, err := m.ReadDir(dir)
	if err != nil {
		return nil
	}
	for _, e := range entries {
		path := dir + "/" + e.Name()
		switch {
		case e.IsDir() && e.Name() != "free":
			paths = append(paths, files(m, path)...)
		case e.IsDir(), e.Name() == "LOCK", strings.HasSuffix(e.Name(), vfs.TempSuffix):
		default:
			paths = append(paths, path)
		}
	}
	return paths
}

// damage damages a file of the host's volume, and returns a description.
func (h *host) damage(which, what int64) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.mem == nil {
		return ""
	}
	all := files(h.mem, "/spool")
	if len(all) == 0 {
		return ""
	}
	// Half of the time it damages a segment or a staged file; other files are small and few.
	if which%2 == 0 {
		var data []string
		for _, path := range all {
			if dir := filepath.Base(filepath.Dir(path)); dir == "seg" || dir == "stage" {
				data = append(data, path)
			}
		}
		if len(data) > 0 {
			all = data
		}
	}
	path := all[int(which/2)%len(all)]
	peer := sibling(h.mem, path, what/damageKinds)
	if h.unnamed(path) {
		return ""
	}
	h.aim(path)
	if what%damageKinds == swapFiles {
		h.aim(peer)
	}
	switch kind, pos := what%damageKinds, what/damageKinds; kind {
	case flipBit:
		return change(h.mem, path, func(b []byte) []byte { b[int(pos)%len(b)] ^= 1 << (pos % 8); return b })
	case zeroBlock:
		return change(h.mem, path, func(b []byte) []byte { clear(block(b, pos)); return b })
	case foreignBlock:
		other := read(h.mem, peer)
		if peer == "" || len(other) == 0 {
			return ""
		}
		return change(h.mem, path, func(b []byte) []byte { copy(block(b, pos), block(other, pos)); return b })
	case truncate:
		return change(h.mem, path, func(b []byte) []byte { return b[:int(pos)%len(b)] })
	case swapFiles:
		if peer == "" {
			return ""
		}
		a, b := read(h.mem, path), read(h.mem, peer)
		return replace(h.mem, path, b) + " to the bytes of the other, " + replace(h.mem, peer, a)
	case olderCopy:
		if h.older == nil {
			return ""
		}
		before := read(h.older, path)
		if before == nil || bytes.Equal(before, read(h.mem, path)) {
			return ""
		}
		return replace(h.mem, path, before)
	}
	if filepath.Base(filepath.Dir(path)) == "damaged" || noted(h.mem, path) {
		return "" // deleting it is how an operator gives up its records
	}
	if filepath.Base(filepath.Dir(path)) == "seg" && path >= h.newest() { // or the one that is prepared for what follows
		h.unlinked = time.Now()
	}
	if h.mem.Remove(path) != nil || h.mem.SyncDir(filepath.Dir(path)) != nil {
		return ""
	}
	return "delete " + path
}

// unnamed reports whether no undamaged file would be left that says which spool the volume has. Then the spool asks for a copy of one from
// outside, which these hosts do not have.
func (h *host) unnamed(path string) bool {
	return !slices.ContainsFunc(files(h.mem, "/spool"), func(p string) bool {
		dir := filepath.Base(filepath.Dir(p))
		return (dir == "seg" || dir == "stage" || dir == "chain" || p == "/spool/spool.json") && p != path && !slices.Contains(h.hits, p)
	})
}

// noted reports whether the note of a damage names the file.
func noted(m *vfs.Mem, path string) bool {
	return slices.ContainsFunc(files(m, "/spool/damaged"), func(note string) bool {
		return filepath.Ext(note) == ".json" && bytes.Contains(read(m, note), []byte(`"`+filepath.Base(path)+`"`))
	})
}

// sibling returns another file of the same directory with the same extension; "" if there is none.
func sibling(m *vfs.Mem, path string, n int64) string {
	var others []string
	for _, p := range files(m, filepath.Dir(path)) {
		if p != path && filepath.Dir(p) == filepath.Dir(path) && filepath.Ext(p) == filepath.Ext(path) {
			others = append(others, p)
		}
	}
	if len(others) == 0 {
		return ""
	}
	return others[int(n)%len(others)]
}

// block returns the damaged range of a file, 512 to 8192 bytes.
func block(b []byte, n int64) []byte {
	size := 512 << (n % 5)
	at := int(n) * 512 % len(b)
	return b[at:min(len(b), at+size)]
}

func read(m *vfs.Mem, path string) []byte {
	b, err := vfs.ReadFile(m, path, 1<<30)
	if err != nil {
		return nil
	}
	return b
}

// change alters the contents of a file; if it ends with zeroes, as allocated segments do, the bytes before them.
func change(m *vfs.Mem, path string, f func([]byte) []byte) string {
	b := read(m, path)
	used := bytes.TrimRight(b, "\x00")
	if len(used) == 0 {
		return ""
	}
	next := f(bytes.Clone(used))
	if len(next) == len(used) {
		next = append(next, b[len(used):]...)
	}
	if bytes.Equal(next, b) {
		return ""
	}
	return replace(m, path, next)
}

// replace writes in place, durably: the file keeps its node, so that a process that has it open sees the change.
func replace(m *vfs.Mem, path string, b []byte) string {
	f, err := m.OpenRW(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if f.Truncate(int64(len(b))) != nil {
		return ""
	}
	if _, err := f.WriteAt(b, 0); err != nil || f.Sync() != nil {
		return ""
	}
	return "change " + path
}
