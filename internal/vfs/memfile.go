package vfs

import (
	"io"
	"io/fs"
	"slices"
	"syscall"
	"time"
)

const (
	pageSize = 4096
	sector   = 512 // a disk writes a sector as a whole
	// maxVersions bounds how many versions of a page between two Syncs a power cut can bring back. More would find no more
	// bugs: it suffices to have a version that is neither the oldest nor the newest.
	maxVersions = 8
	maxSizes    = 64 // the same limit for sizes
)

// page is never changed once it is in a slot.
type page [pageSize]byte

var zeroPage page

// slot is 4 KiB of a file. A nil page is a hole: it reads as zeroes and uses no space.
type slot struct {
	cur     *page
	durable *page
	old     []*page // versions between durable and cur, any of which the kernel may have written back
	dirty   bool    // the next Sync writes cur. If false, and cur is not durable, a failed Sync has dropped cur
}

// set replaces a slot's page.
func (m *Mem) set(n *memNode, i int, p *page) {
	s := &n.slots[i]
	if s.cur != s.durable {
		if len(s.old) == maxVersions {
			s.old = slices.Delete(s.old, 0, 1)
		}
		s.old = append(s.old, s.cur)
	}
	switch {
	case s.cur == nil && p != nil:
		m.used += pageSize
	case s.cur != nil && p == nil:
		m.used -= pageSize
	}
	s.cur = p
	if !s.dirty {
		s.dirty = true
		n.dirty = append(n.dirty, i)
	}
}

// room reports whether slot i may be written.
func (m *Mem) room(n *memNode, i int) bool {
	if i < len(n.slots) && n.slots[i].cur != nil || m.capacity == 0 {
		return true
	}
	return m.used+pageSize <= m.capacity
}

func (n *memNode) grow(slots int) {
	if slots > len(n.slots) {
		n.slots = append(n.slots, make([]slot, slots-len(n.slots))...)
	}
}

// setSize records the previous size: a power cut may bring any of them back.
func (n *memNode) setSize(size int64) {
	if size != n.size {
		if len(n.sizes) == maxSizes {
			n.sizes = slices.Delete(n.sizes, 0, 1)
		}
		n.sizes = append(n.sizes, n.size)
		n.size = size
	}
}

// release frees the space of a file that has no names and is not open.
func (m *Mem) release(n *memNode) {
	if n.links > 0 || n.opens > 0 {
		return
	}
	for i := range n.slots {
		if n.slots[i].cur != nil {
			m.used -= pageSize
		}
	}
}

func (m *Mem) open(n *memNode, path string, write bool) File {
	n.opens++
	return &memFile{m: m, n: n, path: path, write: write}
}

// memFile is an open file; it stays usable after its name is removed.
type memFile struct {
	m      *Mem
	n      *memNode
	path   string
	write  bool
	closed bool
}

// begin locks m.mu and checks the handle. The caller must unlock it even after an error.
func (f *memFile) begin(op string, write bool) error {
	f.m.mu.Lock()
	switch {
	case f.closed:
		return &fs.PathError{Op: op, Path: f.path, Err: fs.ErrClosed}
	case write && !f.write:
		return &fs.PathError{Op: op, Path: f.path, Err: syscall.EBADF}
	}
	return nil
}

func (f *memFile) ReadAt(p []byte, off int64) (int, error) {
	err := f.begin("read", false)
	defer f.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.path, Err: fs.ErrInvalid}
	}
	var n int
	for n < len(p) && off < f.n.size {
		src := &zeroPage // a hole
		if i := int(off / pageSize); i < len(f.n.slots) && f.n.slots[i].cur != nil {
			src = f.n.slots[i].cur
		}
		at := off % pageSize
		k := copy(p[n:], src[at:min(pageSize, at+f.n.size-off)])
		n += k
		off += int64(k)
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (f *memFile) WriteAt(p []byte, off int64) (int, error) {
	err := f.begin("write", true)
	defer f.m.mu.Unlock()
	if err != nil {
		return 0, err
	}
	if off < 0 {
		return 0, &fs.PathError{Op: "write", Path: f.path, Err: fs.ErrInvalid}
	}
	var n int
	for n < len(p) {
		i, at := int(off/pageSize), off%pageSize
		if !f.m.room(f.n, i) { // earlier pages stay written, as on a disk
			err = &fs.PathError{Op: "write", Path: f.path, Err: syscall.ENOSPC}
			break
		}
		f.n.grow(i + 1)
		next := new(page)
		if cur := f.n.slots[i].cur; cur != nil {
			*next = *cur
		}
		k := copy(next[at:], p[n:])
		f.m.set(f.n, i, next)
		n += k
		off += int64(k)
	}
	if n > 0 {
		f.n.setSize(max(f.n.size, off))
		f.n.time = time.Now()
	}
	return n, err
}

// Sync makes only dirty pages durable: pages that a failed Sync dropped stay lost.
func (f *memFile) Sync() error {
	err := f.begin("sync", false)
	defer f.m.mu.Unlock()
	if err != nil {
		return err
	}
	for _, i := range f.n.dirty {
		s := &f.n.slots[i]
		s.durable, s.old, s.dirty = s.cur, nil, false
	}
	f.n.dirty = f.n.dirty[:0]
	f.n.durableSize, f.n.sizes = f.n.size, nil
	return nil
}

// failSync does what a failed fsync does on Linux: the pages become clean although they were not written. Reads still return
// them and later Syncs succeed, but only data that is written again becomes durable.
func (f *memFile) failSync() {
	_ = f.begin("sync", false)
	defer f.m.mu.Unlock()
	for _, i := range f.n.dirty {
		f.n.slots[i].dirty = false
	}
	f.n.dirty = f.n.dirty[:0]
}

func (f *memFile) Truncate(size int64) error {
	err := f.begin("truncate", true)
	defer f.m.mu.Unlock()
	if err != nil {
		return err
	}
	if size < 0 {
		return &fs.PathError{Op: "truncate", Path: f.path, Err: fs.ErrInvalid}
	}
	for i := int(size / pageSize); i < len(f.n.slots); i++ {
		cur := f.n.slots[i].cur
		if cur == nil {
			continue
		}
		if at := size - int64(i)*pageSize; at > 0 { // the page with the new end: if the file grows again, zeroes follow the old end
			next := new(page)
			copy(next[:at], cur[:])
			f.m.set(f.n, i, next)
		} else {
			f.m.set(f.n, i, nil)
		}
	}
	f.n.setSize(size)
	f.n.time = time.Now()
	return nil
}

// Allocate fills holes with a shared page of zeroes, which uses space and changes nothing else.
func (f *memFile) Allocate(size int64) error {
	err := f.begin("fallocate", true)
	defer f.m.mu.Unlock()
	if err != nil {
		return err
	}
	for i := range int((size + pageSize - 1) / pageSize) {
		if !f.m.room(f.n, i) {
			return &fs.PathError{Op: "fallocate", Path: f.path, Err: syscall.ENOSPC}
		}
		f.n.grow(i + 1)
		if f.n.slots[i].cur == nil {
			f.m.set(f.n, i, &zeroPage)
		}
	}
	return nil
}

func (f *memFile) Size() (int64, error) {
	err := f.begin("stat", false)
	defer f.m.mu.Unlock()
	return f.n.size, err
}

func (f *memFile) Close() error {
	err := f.begin("close", false)
	defer f.m.mu.Unlock()
	if err != nil {
		return err
	}
	f.closed = true
	f.n.opens--
	f.m.release(f.n)
	return nil
}
